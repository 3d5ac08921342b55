package cli

import (
	"errors"
	"strings"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/pgstore"
	"github.com/onceguard/onceguard/sqlitestore"
)

// storeCmd groups the commands about the store itself.
type storeCmd struct {
	Migrate     storeMigrateCmd     `cmd:"" help:"Create the store or bring its schema up to date."`
	Verify      storeVerifyCmd      `cmd:"" help:"Try everything that the guard needs of a store, beside your own receipts."`
	Backup      storeBackupCmd      `cmd:"" help:"Write the whole store into one portable file, secrets included."`
	Restore     storeRestoreCmd     `cmd:"" help:"Fill an empty store from a backup. It is frozen until acknowledged."`
	Acknowledge storeAcknowledgeCmd `cmd:"" help:"Unfreeze a store whose epoch changed."`
	RotateKey   storeRotateKeyCmd   `cmd:"" name:"rotate-key" help:"Add a new current fingerprint key."`
}

// storeMigrateCmd is `onceguard store migrate`.
type storeMigrateCmd struct {
	Print bool `help:"Print the SQL of all migrations and change nothing."`
}

// Help is shown below the flags.
func (storeMigrateCmd) Help() string {
	return `Migrations only go forward. A Postgres store needs this once before the first use and after an upgrade; a SQLite store migrates itself when it is opened.

Example:

  onceguard store migrate --store postgres://owner@db/payments`
}

// Run is the command.
func (c *storeMigrateCmd) Run(a *app) error {
	at, err := a.chooseStore()
	if err != nil {
		return err
	}
	if c.Print {
		if at.kind == "postgres" {
			return pgstore.PrintMigrations(a.stdout)
		}
		return sqlitestore.PrintMigrations(a.stdout)
	}
	if at.kind == "postgres" {
		a.at = at
		if err := pgstore.Migrate(a.ctx, at.url); err != nil {
			return a.storeErr(err)
		}
	}
	// The secrets are made once, here, rather than by whoever comes first.
	g, err := a.guard(mayCreate, onceguard.Options{})
	if err != nil {
		return err
	}
	info, err := g.Store().Info(a.ctx)
	if err != nil {
		return a.storeErr(err)
	}
	a.say("%s has schema version %d", plain(at.shown), info.Schema)
	return nil
}

// storeAcknowledgeCmd is `onceguard store acknowledge`.
type storeAcknowledgeCmd struct {
	Epoch  string `required:"" placeholder:"EPOCH" help:"The epoch that you looked at; doctor shows it. If it changed again, nothing happens."`
	By     string `required:"" placeholder:"NAME" help:"Who decides; kept as evidence."`
	Reason string `required:"" placeholder:"TEXT" help:"Why it is safe to go on; kept as evidence."`
}

// Help is shown below the flags.
func (storeAcknowledgeCmd) Help() string {
	return `After a failover, a restore or a copied file the store may have forgotten claims: requests that happened would run again. Compare with the downstream what happened since the backup or before the failover, import it (receipts import), then acknowledge.

Example:

  onceguard store acknowledge --epoch EPOCH --by alice --reason "compared with the provider's list up to 10:40"`
}

// Run is the command.
func (c *storeAcknowledgeCmd) Run(a *app) error {
	if strings.TrimSpace(c.By) == "" || strings.TrimSpace(c.Reason) == "" {
		return usageError("--by and --reason are kept as evidence; neither may be empty")
	}
	s, err := a.store(mustExist)
	if err != nil {
		return err
	}
	if err := s.Acknowledge(a.ctx, onceguard.Acknowledgement{Epoch: c.Epoch, By: c.By, Reason: c.Reason}); err != nil {
		var se *onceguard.StoreError
		if errors.As(err, &se) && se.Permanent {
			return &failure{status: exitMismatch, text: plain(a.at.shown) + ": " + err.Error(), err: err}
		}
		return a.storeErr(err)
	}
	info, err := s.Info(a.ctx)
	if err != nil {
		return a.storeErr(err)
	}
	if info.Frozen {
		return &failure{status: exitNoResult, text: plain(a.at.shown) + " is frozen again: " + plain(info.FrozenWhy)}
	}
	a.say("%s is not frozen any more (epoch %s)", plain(a.at.shown), plain(info.Epoch))
	return nil
}

// storeRotateKeyCmd is `onceguard store rotate-key`.
type storeRotateKeyCmd struct{}

// Help is shown below the flags.
func (storeRotateKeyCmd) Help() string {
	return `Receipts keep the key that they name and stay comparable; new ones use the new key. Running programs take it up when they start again or meet it. The downstream secret never rotates: another secret would be another downstream key.

Example:

  onceguard store rotate-key`
}

// Run is the command.
func (c *storeRotateKeyCmd) Run(a *app) error {
	s, err := a.store(mustExist)
	if err != nil {
		return err
	}
	key, err := a.kek()
	if err != nil {
		return err
	}
	id, err := onceguard.RotateFingerprintKey(a.ctx, s, key)
	if err != nil {
		return unavailable("%s: %w", plain(a.at.shown), prefixless{err})
	}
	a.say("the current fingerprint key of %s is %s now", plain(a.at.shown), id)
	return nil
}
