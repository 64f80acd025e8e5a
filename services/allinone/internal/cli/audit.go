package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/pkg/clock"
)

const (
	auditPath = "/v1/admin/audit"
	// verifyTimeout is how long the gateway may read its trail.
	verifyTimeout = 30 * time.Minute
)

func (a *app) auditCommand() *cobra.Command {
	return group("audit", "The audit trail", a.auditListCommand(), a.auditTailCommand(), a.auditExportCommand(), a.auditVerifyCommand(), a.auditConsistencyCommand(), a.auditKeysCommand(), a.auditContentCommand())
}

func auditColumns() []column {
	return columns("TIME time", "REQUEST request_id", "TENANT tenant", "SUBJECT subject", "METHOD method", "RESOURCE resource", "DECISION decision", "ERROR error_reason", "IN prompt_tokens", "OUT completion_tokens", "MS duration_ms")
}

func (a *app) auditListCommand() *cobra.Command {
	var limit int
	var requestID, filter string
	list := &cobra.Command{
		Use: "list", Short: "List what was asked, by whom, and how it was decided, newest first", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return usagef("--limit must be 1 or more")
			}
			query := url.Values{"page_size": {strconv.Itoa(min(limit, maxPageSize))}}
			if requestID != "" {
				query.Set("request_id", requestID)
			}
			if filter != "" {
				query.Set("filter", filter)
			}
			return a.list(cmd, auditPath, query, "records", limit, auditColumns())
		},
	}
	list.Flags().IntVar(&limit, "limit", 50, "how many records, 1 or more")
	list.Flags().StringVar(&requestID, "request-id", "", "only this request")
	list.Flags().StringVar(&filter, "filter", "", `only what it selects, such as 'decision = "refused" AND method = "/poterne.edge.v1.AdminService/*"'`)
	return list
}

// tailInterval is how often new records are asked for.
const tailInterval = time.Second

func (a *app) auditTailCommand() *cobra.Command {
	var filter string
	tail := &cobra.Command{
		Use: "tail", Short: "Print records as they come, until you end it", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			seen := make(map[string]bool)
			// What ends after something later had begun comes late: look a little back.
			for since := a.clock.Now(); ctx.Err() == nil; since = a.clock.Now().Add(-time.Minute) {
				f := fmt.Sprintf("time >= %q", since.UTC().Format(time.RFC3339Nano))
				if filter != "" {
					f += " AND (" + filter + ")"
				}
				items, err := c.pages(ctx, auditPath, url.Values{"filter": {f}, "page_size": {strconv.Itoa(maxPageSize)}}, "records", 0)
				if err != nil {
					return err
				}
				fresh := []any{}
				now := make(map[string]bool)
				for _, item := range slices.Backward(items) {
					record, _ := item.(map[string]any)
					id, _ := record["id"].(string)
					now[id] = true
					// The question itself is no news.
					if method, _ := record["method"].(string); !seen[id] && method != "/poterne.edge.v1.AdminService/ListAuditRecords" {
						fresh = append(fresh, record)
					}
				}
				seen = now
				if len(fresh) > 0 {
					if err := a.print(fresh, auditColumns()); err != nil {
						return err
					}
				}
				_ = clock.Sleep(ctx, a.clock, tailInterval)
			}
			return nil
		},
	}
	tail.Flags().StringVar(&filter, "filter", "", "only what it selects")
	return tail
}

func (a *app) auditExportCommand() *cobra.Command {
	var filter, format, file string
	var proof, proofs bool
	export := &cobra.Command{
		Use: "export", Short: "Write the trail as JSON lines or CSV, oldest first", Args: noArgs,
		Long: `Writes the trail, oldest first. With --proof the chains, keys and checkpoints come
first, and the records in the order of their chains, so that audit verify FILE can
verify it without the gateway. With --proofs each record comes with a proof of its
own, so that a selection, or one tenant's records, can be verified without the others.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			query := url.Values{"format": {format}}
			if filter != "" {
				query.Set("filter", filter)
			}
			if proof {
				query.Set("proof", "true")
			}
			if proofs {
				query.Set("proofs", "true")
			}
			resp, err := c.send(cmd.Context(), http.MethodGet, auditPath+":export?"+query.Encode(), nil)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			out := a.streams.Out
			if file != "" {
				f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
				if err != nil {
					return err
				}
				defer func() { _ = f.Close() }() // closed below when all went well
				if _, err := io.Copy(f, resp.Body); err != nil {
					return fmt.Errorf("the export is not whole: %w", err)
				}
				return errors.Join(f.Sync(), f.Close())
			}
			if _, err := io.Copy(out, resp.Body); err != nil {
				return fmt.Errorf("the export is not whole: %w", err)
			}
			return nil
		},
	}
	f := export.Flags()
	f.StringVar(&filter, "filter", "", "only what it selects")
	f.StringVar(&format, "format", "jsonl", "jsonl or csv")
	f.StringVar(&file, "file", "", "write into this file, readable by you only, and not to the terminal")
	f.BoolVar(&proof, "proof", false, "with what the whole trail is verified by")
	f.BoolVar(&proofs, "proofs", false, "with a proof for each record, against a signed checkpoint")
	return export
}

func (a *app) auditKeysCommand() *cobra.Command {
	return &cobra.Command{
		Use: "keys", Short: "List the keys that verify checkpoints; keep them where the gateway cannot write", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, auditPath+"/keys", nil, &out); err != nil {
				return err
			}
			titles := auditKeyTitles()
			return a.print(out["keys"], columns(titles[0]+" key", titles[1]+" create_time"))
		},
	}
}

func (a *app) auditVerifyCommand() *cobra.Command {
	var keys, checkpoints []string
	var chain string
	var signed bool
	verify := &cobra.Command{
		Use: "verify [FILE...]", Short: "Find what was changed, removed, moved, added or cut off",
		Long: `Without a file the gateway verifies its trail. With files, those of audit export --proof
or of a trail that is kept in files, oldest first, this program does, and asks no
gateway. --checkpoints names files of checkpoints that were kept elsewhere, or
directories of them. With --key, something must be signed by one of the keys.

Exit code 0: nothing is wrong; 1: something is, and is named; 2: wrong usage.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			elsewhere, err := readCheckpoints(checkpoints)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				if signed {
					return usagef("--require-signed is for files")
				}
				if len(keys) > 0 {
					return usagef("--key is for files: the gateway has its own")
				}
				return a.verifyOnline(cmd, chain, elsewhere)
			}
			if chain != "" {
				return usagef("--chain is for the gateway")
			}
			return a.verifyFiles(args, keys, elsewhere, signed)
		},
	}
	f := verify.Flags()
	f.StringVar(&chain, "chain", "", "only this chain")
	f.StringArrayVar(&keys, "key", nil, "a verification key of `audit keys`, or a file of them; may be repeated. Without one, those in the files count, and prove nothing against who could write them")
	f.StringArrayVar(&checkpoints, "checkpoints", nil, "a file of checkpoints that were kept elsewhere, or a directory of such files; may be repeated")
	f.BoolVar(&signed, "require-signed", false, "every record must be under a signed checkpoint")
	return verify
}
