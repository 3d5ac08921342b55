package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"sync"

	"github.com/alecthomas/kong"

	"github.com/onceguard/onceguard/internal/shim"
)

// root is the whole command line. Each command is a struct in its own file.
type root struct {
	globals

	Run        runCmd        `cmd:"" help:"Run a command at most once per key, and replay its outcome afterwards."`
	Receipts   receiptsCmd   `cmd:"" help:"Read, settle and move receipts."`
	Store      storeCmd      `cmd:"" help:"Look after the store: schema, backup, restore, keys."`
	Doctor     doctorCmd     `cmd:"" help:"Check the store and this machine, and count what needs a person."`
	Completion completionCmd `cmd:"" help:"Print a completion script for a shell."`
	Man        manCmd        `cmd:"" help:"Print the manual page, as roff."`
	Version    versionCmd    `cmd:"" help:"Print the version."`

	kong.Plugins
}

// added are commands that live in files of their own beside this list: a file
// appends a pointer to a struct with cmd fields from a package variable.
var added []any

// addCommands registers the commands of group, a pointer to a struct whose
// fields have cmd tags. It is called from the initialiser of a package variable.
func addCommands(group any) bool {
	added = append(added, group)
	return true
}

// exited carries an exit status out of kong, which ends the process otherwise.
type exited int

// Main runs the command line args (without the program's name) and returns the
// exit status. env is a list like os.Environ's. ctx bounds the whole run; when
// it ends, nothing new is started.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env []string) (status int) {
	if shim.Asked(args) {
		return shim.Run(args, stderr)
	}
	a := &app{ctx: ctx, stdin: stdin, stdout: stdout, stderr: serialised(stderr), env: newEnviron(env)}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case exited:
			status = int(p)
		default:
			panic(p)
		}
	}()
	parser, cmd, err := newParser(a)
	if err != nil {
		fmt.Fprintf(stderr, "onceguard: the command line cannot be built: %v\n", err)
		return exitSoftware
	}
	a.globals, a.model = &cmd.globals, parser.Model
	if len(args) == 0 {
		return a.usage(parser)
	}
	kctx, err := parser.Parse(args)
	if err != nil {
		a.complain(parseFailure(err))
		return exitUsage
	}
	defer a.close()
	return a.finish(kctx.Run(a))
}

// usage is for a call without a command.
func (a *app) usage(parser *kong.Kong) int {
	parser.Stdout = a.stderr
	kctx, err := kong.Trace(parser, nil)
	if err == nil {
		err = kctx.PrintUsage(false)
	}
	if err != nil {
		a.complain(err)
	}
	return exitUsage
}

// serialised lets several goroutines write to a writer that is no file: the
// command's output, and what is said about it.
func serialised(w io.Writer) io.Writer {
	if _, file := w.(*os.File); file {
		return w
	}
	return &serial{w: w}
}

type serial struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (s *serial) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

// newParser builds kong's model around fresh structs, so that two runs in one
// process share nothing.
func newParser(a *app) (*kong.Kong, *root, error) {
	cmd := &root{}
	for _, group := range added {
		fresh := reflect.New(reflect.TypeOf(group).Elem())
		cmd.Plugins = append(cmd.Plugins, fresh.Interface())
	}
	parser, err := kong.New(cmd,
		kong.Name("onceguard"),
		kong.Description("Remembers whether an irreversible action already happened. Run `onceguard COMMAND --help` for each command's flags and an example."),
		kong.Writers(a.stdout, a.stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.UsageOnError(),
	)
	return parser, cmd, err
}

// parseFailure turns kong's message into ours: which command, what, the mend.
func parseFailure(err error) error {
	help := "onceguard --help"
	var pe *kong.ParseError
	if errors.As(err, &pe) && pe.Context != nil {
		if node := pe.Context.Selected(); node != nil {
			help = node.FullPath() + " --help"
		}
	}
	return usageError("%v; see `%s`", err, help)
}
