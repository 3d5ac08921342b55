package groupcommit_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/onceguard/onceguard/internal/groupcommit"
)

// member is a question and its answer.
type member struct {
	key    int
	size   int
	answer string
}

// desk is a flush that the test steps through: each batch is announced on
// begun, and ends when something is sent to end.
type desk struct {
	*groupcommit.Group[int, *member]
	begun chan []*member
	end   chan func()
}

func newDesk(t *testing.T, o groupcommit.Options[int, *member]) *desk {
	t.Helper()
	d := &desk{begun: make(chan []*member), end: make(chan func())}
	if o.Stall == 0 {
		o.Stall = -1
	}
	o.Key = func(m *member) int { return m.key }
	o.Size = func(m *member) int { return m.size }
	o.Flush = func(_ context.Context, batch []*member) {
		d.begun <- append([]*member(nil), batch...)
		if f := <-d.end; f != nil {
			f()
		}
		for _, m := range batch {
			m.answer = fmt.Sprintf("%d of %d", m.key, len(batch))
		}
	}
	d.Group = groupcommit.New(o)
	t.Cleanup(d.Close)
	return d
}

// call starts a Do and returns where its error will come.
func (d *desk) call(ctx context.Context, members ...*member) <-chan error {
	done := make(chan error, 1)
	go func() { done <- d.Do(ctx, members) }()
	return done
}

// until waits for what Stats must show: calls arrive on goroutines of their own.
func (d *desk) until(t *testing.T, ok func(groupcommit.Stats) bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(d.Stats()); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("never reached: %+v", d.Stats())
		}
	}
}

func waiting(n int) func(groupcommit.Stats) bool {
	return func(s groupcommit.Stats) bool { return s.Waiting == n }
}

func keys(batch []*member) (list []int) {
	for _, m := range batch {
		list = append(list, m.key)
	}
	return list
}

func (d *desk) expect(t *testing.T, want ...int) {
	t.Helper()
	if got := keys(<-d.begun); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("flushed %v, want %v", got, want)
	}
}

func ok(t *testing.T, done <-chan error) {
	t.Helper()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
