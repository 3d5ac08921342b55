package cli

import (
	"errors"

	"github.com/onceguard/onceguard"
)

// receiptsCmd groups the commands about receipts.
type receiptsCmd struct {
	List      receiptsListCmd      `cmd:"" help:"List receipts, newest first."`
	Show      receiptsShowCmd      `cmd:"" help:"Tell the story of one request."`
	Resolve   receiptsResolveCmd   `cmd:"" help:"Settle an uncertain request by a person's decision."`
	Reconcile receiptsReconcileCmd `cmd:"" help:"Ask a command what became of an action's uncertain requests."`
	Export    receiptsExportCmd    `cmd:"" help:"Write receipts as JSON Lines."`
	Import    receiptsImportCmd    `cmd:"" help:"Record work done before adoption as final receipts."`
	Prune     receiptsPruneCmd     `cmd:"" help:"Drop results and identities that are past their retention."`
	Sweep     receiptsSweepCmd     `cmd:"" help:"Park claims whose lease is over and that no call may take over."`
}

// oneRequest are the flags that name one request.
type oneRequest struct {
	ID     string   `arg:"" optional:"" name:"request-id" help:"The request ID, req_…"`
	Action string   `placeholder:"NAME" help:"In place of the ID: the action, with the key."`
	Key    []string `sep:"none" placeholder:"KEY" help:"In place of the ID: the key, as given to run."`
	RawKey string   `placeholder:"TEXT" help:"In place of the ID: the key as one text."`
	Scope  string   `default:"default" placeholder:"SCOPE" help:"Scope of --action and --key."`
}

func (o oneRequest) id() (onceguard.RequestID, error) {
	named := o.Action != "" || len(o.Key) > 0 || o.RawKey != ""
	switch {
	case o.ID != "" && named:
		return onceguard.RequestID{}, usageError("give the request ID or --action and --key, not both")
	case o.ID != "":
		id, err := onceguard.ParseRequestID(o.ID)
		if err != nil {
			return id, usageError("%w", prefixless{err})
		}
		return id, nil
	case o.Action == "":
		return onceguard.RequestID{}, usageError("name the request: its ID, or --action NAME --key KEY")
	}
	key, err := keyFlags{keys: o.Key, raw: o.RawKey}.key(nil)
	if err != nil {
		return onceguard.RequestID{}, usageError("%w", prefixless{err})
	}
	id, err := onceguard.NewRequestID(o.Scope, o.Action, key)
	if err != nil {
		return id, usageError("%w", prefixless{err})
	}
	return id, nil
}

// get reads one record; a request that the store does not know is an error that
// names the store.
func (a *app) get(s onceguard.Store, id onceguard.RequestID) (onceguard.Answer, error) {
	answers, err := s.Get(a.ctx, []onceguard.RequestID{id})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return onceguard.Answer{}, unavailable("%s: %w", plain(a.at.shown), err)
	}
	if answers[0].Outcome != onceguard.Found {
		return onceguard.Answer{}, usageError("%s: the store %s has no such request: check the ID and the store", id, plain(a.at.shown))
	}
	return answers[0], nil
}

// storeErr gives an error of the store its exit status and name.
func (a *app) storeErr(err error) error {
	var se *onceguard.StoreError
	if errors.As(err, &se) {
		return &failure{status: exitUnavailable, text: plain(a.at.shown) + ": " + err.Error(), err: err}
	}
	return err
}
