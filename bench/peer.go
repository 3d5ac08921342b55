package bench

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
)

// charges is a durable workflow with one step, which is what comes nearest to
// one guarded call: run once per ID, the result recorded.
func charges(ctx dbos.Context, in string) (string, error) {
	return dbos.RunAsStep(ctx, func(context.Context) (string, error) { return in, nil }, dbos.WithStepName("charge"))
}

// peers measures DBOS on the same server. It also recovers workflows, queues
// them and sends events, which the guard does not.
func (b *Bench) peers(t *testing.T) {
	counts := b.callers("dbos %d", 1, 64, 256)
	if len(counts) == 0 {
		return
	}
	c, m := b.server(t, nil)
	for _, n := range counts {
		scene := fmt.Sprintf("dbos %d", n)
		t.Run(scene, func(t *testing.T) {
			url, store := database(t, c)
			peer, err := dbos.NewContext(context.Background(), dbos.Config{
				AppName: "onceguard-bench", SystemDBPool: pool(t, c.Database(t), naivePool), Logger: quiet,
			})
			if err != nil {
				t.Fatal(err)
			}
			dbos.RegisterWorkflow(peer, charges)
			if err := dbos.Launch(peer); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { dbos.Shutdown(peer, 10*time.Second) })
			kept := newID().String()
			run := func(id string) error {
				handle, err := dbos.RunWorkflow(peer, charges, string(body), dbos.WithWorkflowID(id))
				if err != nil {
					return err
				}
				got, err := handle.GetResult()
				if err == nil && got != string(body) {
					err = fmt.Errorf("the workflow returned %q", got)
				}
				return err
			}
			if err := run(kept); err != nil {
				t.Fatal(err)
			}
			rows := b.scene(t, scene, m,
				Side{"DBOS, one step", n, func() error { return run(newID().String()) }},
				Side{"onceguard store", n, func() error { return pair(store) }},
				Side{"naive, pool 64", n, naive(pool(t, url, naivePool))},
				Side{"DBOS, replay by ID", n, func() error { return run(kept) }})
			b.reached(map[int]int{1: 18, 64: 19, 256: 20}[n], rows[1].Ratio(rows[0], rate))
		})
	}
}

// version is that of a module that this one uses.
func version(module string) string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", module).Output()
	if err != nil {
		return "(unknown version)"
	}
	return strings.TrimSpace(string(out))
}
