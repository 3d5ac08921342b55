package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// ticks is USER_HZ, the unit of CPU times in /proc; it is 100 on every Linux
// that Go runs on (proc(5)).
const ticks = 100

// meter reads what a slice used. The server may be missing.
type meter struct {
	conn       *pgx.Conn
	postmaster int
}

// newMeter connects to a server for its counters.
func newMeter(ctx context.Context, url string) (*meter, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	m := &meter{conn: conn}
	var backend int
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		return nil, err
	}
	s, err := readStat(backend)
	m.postmaster = s.parent
	return m, err
}

func (m *meter) close() {
	if m.conn != nil {
		_ = m.conn.Close(context.Background()) // only counters were read on it
	}
}

// reading is all counters at one moment.
type reading struct {
	client, server, busy time.Duration
	xid, wal             int64
	mallocs              uint64
}

func (m *meter) read(ctx context.Context) (r reading, err error) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	r.mallocs = mem.Mallocs
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		return r, err
	}
	r.client = time.Duration(use.Utime.Nano() + use.Stime.Nano())
	if r.busy, err = machineBusy(); err != nil {
		return r, err
	}
	if m.conn == nil {
		return r, nil
	}
	// Reading a snapshot takes no transaction ID. Statistics views would lag:
	// backends report to them once a second.
	err = m.conn.QueryRow(ctx, `SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint`).Scan(&r.xid, &r.wal)
	if err != nil {
		return r, err
	}
	r.server, err = familyCPU(m.postmaster)
	return r, err
}

// measure drives one slice between two readings.
func (m *meter) measure(ctx context.Context, callers int, span time.Duration, op func() error) (Sample, error) {
	before, err := m.read(ctx)
	if err != nil {
		return Sample{}, err
	}
	began := time.Now()
	s, err := drive(callers, span, op)
	if err != nil {
		return s, err
	}
	after, err := m.read(ctx)
	if err != nil {
		return s, err
	}
	took := time.Since(began)
	s.Client, s.Server = after.client-before.client, after.server-before.server
	s.Xacts, s.WAL, s.Mallocs = after.xid-before.xid, after.wal-before.wal, int64(after.mallocs-before.mallocs)
	others := after.busy - before.busy - s.Client - s.Server
	s.Served = m.conn != nil
	s.Noise = share(others, took)
	return s, nil
}

// share is the part of the machine's time that others used.
func share(others, took time.Duration) float64 {
	return max(0, float64(others)/(float64(took)*float64(runtime.NumCPU())))
}

// machineBusy is the time that all CPUs spent on anything, other machines of
// the same host included (steal).
func machineBusy() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	var sum int64
	for i, f := range fields[1:9] { // user nice system idle iowait irq softirq steal
		if i == 3 || i == 4 {
			continue
		}
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * time.Second / ticks, nil
}

// stat is what /proc/PID/stat says, see proc(5).
type stat struct {
	parent      int
	own, waited time.Duration // CPU; of children that were waited for
}

// readStat prefers schedstat for the time of a process itself: it counts in
// nanoseconds, while stat leaves out up to 10 ms for each of many backends.
func readStat(pid int) (s stat, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return s, err
	}
	if s, err = parseStat(string(text)); err != nil {
		return s, err
	}
	if text, err := os.ReadFile(filepath.Join(dir, "schedstat")); err == nil {
		if ns, _, ok := strings.Cut(string(text), " "); ok {
			if n, err := strconv.ParseInt(ns, 10, 64); err == nil && n > 0 {
				s.own = time.Duration(n) // of the only thread that a backend has
			}
		}
	}
	return s, nil
}

// parseStat counts fields from the last bracket: the command's name may hold
// anything.
func parseStat(text string) (s stat, err error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 15 {
		return s, fmt.Errorf("a stat file of %d fields", len(fields))
	}
	var n [4]int64
	for i := range n { // utime stime cutime cstime
		if n[i], err = strconv.ParseInt(fields[11+i], 10, 64); err != nil {
			return s, err
		}
	}
	s.own, s.waited = time.Duration(n[0]+n[1])*time.Second/ticks, time.Duration(n[2]+n[3])*time.Second/ticks
	s.parent, err = strconv.Atoi(fields[1])
	return s, err
}

// familyCPU is the CPU time of a process and its children, those that have
// ended included.
func familyCPU(parent int) (time.Duration, error) {
	s, err := readStat(parent)
	if err != nil {
		return 0, err
	}
	sum := s.own + s.waited
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			continue
		}
		if child, err := readStat(pid); err == nil && child.parent == parent {
			sum += child.own
		}
	}
	return sum, nil
}
