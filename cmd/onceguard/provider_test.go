package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// provider is the fake downstream of the scripts. It writes one line to the
// ledger, which is its irreversible effect, and then does what its flags say,
// in this order.
func provider() {
	var (
		say    = flag.String("say", "", "print to standard output")
		errs   = flag.String("err", "", "print to standard error")
		out    = flag.String("out", "", "copy a file to standard output")
		big    = flag.Int("big", 0, "print so many bytes")
		cat    = flag.Bool("cat", false, "copy standard input")
		env    = flag.String("env", "", "print these variables, separated by commas")
		trap   = flag.String("trap", "", "write the signals that come to a file")
		hang   = flag.String("hang", "", "write NAME.pid, NAME.ppid, NAME.started, and wait for NAME.go")
		linger = flag.String("linger", "", "leave a process behind that holds the output until NAME.go")
		code   = flag.Int("exit", 0, "exit status")
		kill   = flag.Int("signal", 0, "die by a signal")
	)
	flag.CommandLine.Parse(os.Args[1:])
	enter()
	fmt.Print(*say)
	fmt.Fprint(os.Stderr, *errs)
	if *out != "" {
		data, err := os.ReadFile(*out)
		must(err)
		_, err = os.Stdout.Write(data)
		must(err)
	}
	if *big > 0 {
		_, err := os.Stdout.WriteString(strings.Repeat("x", *big))
		must(err)
	}
	if *cat {
		_, err := io.Copy(os.Stdout, os.Stdin)
		must(err)
	}
	for name := range strings.SplitSeq(*env, ",") {
		if value, ok := os.LookupEnv(name); ok {
			fmt.Printf("%s=%s\n", name, value)
		} else if name != "" {
			fmt.Printf("%s is not set\n", name)
		}
	}
	if *trap != "" {
		trapSignals(*trap)
	}
	if *linger != "" {
		leave(*linger)
	}
	if *hang != "" {
		wait(*hang)
	}
	if *kill != 0 {
		must(syscall.Kill(os.Getpid(), syscall.Signal(*kill)))
		select {}
	}
	os.Exit(*code)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "provider:", err)
		os.Exit(99)
	}
}

// enter appends to the ledger in one write, as another process would see it.
func enter() {
	path := os.Getenv("LEDGER")
	if path == "" {
		return // the process that was left behind
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(err)
	_, err = fmt.Fprintf(f, "%s %s attempt=%s key=%s pid=%d\n", os.Getenv("ONCEGUARD_ACTION"), os.Getenv("ONCEGUARD_KEY"),
		os.Getenv("ONCEGUARD_ATTEMPT"), os.Getenv("ONCEGUARD_DOWNSTREAM_KEY"), os.Getpid())
	must(err)
	must(f.Close())
}

// trapSignals survives the signals and writes their names down.
func trapSignals(path string) {
	c := make(chan os.Signal, 16)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	go func() {
		for s := range c {
			f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			must(err)
			fmt.Fprintln(f, s)
			must(f.Close())
			must(os.WriteFile(path+"."+strings.ReplaceAll(s.String(), " ", "-"), nil, 0o600))
		}
	}()
}

func wait(name string) {
	must(os.WriteFile(name+".pid", fmt.Appendln(nil, os.Getpid()), 0o600))
	must(os.WriteFile(name+".ppid", fmt.Appendln(nil, os.Getppid()), 0o600))
	must(os.WriteFile(name+".started", nil, 0o600))
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if _, err := os.Stat(name + ".go"); err == nil {
			return
		}
	}
	fmt.Fprintln(os.Stderr, "provider: waited 30s for", name+".go")
	os.Exit(98)
}

// leave starts a process that holds the output and is not waited for.
func leave(name string) {
	self, err := os.Executable()
	must(err)
	cmd := exec.Command(self, "-hang", name, "-say", "early\n", "-exit", "0")
	cmd.Args[0] = filepath.Base(os.Args[0])
	cmd.Env = append(os.Environ(), "LEDGER=")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	must(cmd.Start())
}
