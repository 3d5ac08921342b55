// Command onceguard remembers whether an irreversible action already happened:
// it runs a command at most once per key and replays its outcome afterwards.
package main

import (
	"context"
	"os"

	"github.com/onceguard/onceguard/internal/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}
