package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/onceguard/onceguard"
)

// settleTime is what storing outcomes may take after the last effect ended.
const settleTime = 5 * time.Second

// Serve answers on ln until ctx ends, parks lost claims in the background, and
// then drains: nothing new is forwarded, what runs is waited for up to drain. An
// error says what was still running; those requests are uncertain, and their
// retries are told so. The guard is closed.
func (p *Proxy) Serve(ctx context.Context, ln net.Listener, drain time.Duration) error {
	srv := &http.Server{
		Handler: p, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		DisableGeneralOptionsHandler: true, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelWarn),
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		_ = p.guard.Sweeper(onceguard.SweeperOptions{}).Run(background) // it ends with its context
	}()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-served:
		failed = fmt.Errorf("the listener failed: %w", failed)
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	p.draining.Store(true)
	if err := srv.Shutdown(limit); err != nil {
		_ = srv.Close()
		failed = errors.Join(failed, fmt.Errorf("callers were cut off after the drain limit of %s", drain))
	}
	failed = errors.Join(failed, p.Drain(limit))
	stop()
	<-swept
	last, cancelLast := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancelLast()
	return errors.Join(failed, p.guard.Close(last))
}

// Health answers GET /-/health: 200 when the store answers and guards, 503
// while it does not or the proxy drains. It is for a listener of its own, since
// every path of the proxy's belongs to the upstreams.
func (p *Proxy) Health() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /-/health", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		status, state := http.StatusOK, "ok"
		switch info, err := p.guard.Store().Info(ctx); {
		case p.draining.Load():
			status, state = http.StatusServiceUnavailable, "draining"
		case err != nil:
			status, state = http.StatusServiceUnavailable, "store does not answer"
		case info.Frozen:
			status, state = http.StatusServiceUnavailable, "store is frozen"
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"status": state})
	})
	return mux
}
