package cli

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const keysPath = "/v1/admin/api-keys"

func (a *app) keysCommand() *cobra.Command {
	var tenant, subject string
	var roles, groups []string
	var perMinute int
	var expires time.Duration
	create := &cobra.Command{
		Use: "create NAME", Short: "Create an API key; it is shown once", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			body := map[string]any{
				"name": args[0], "tenant": tenant, "subject": subject, "roles": roles, "groups": groups,
				"requests_per_minute": perMinute,
			}
			if expires > 0 {
				body["expire_time"] = a.clock.Now().Add(expires).UTC().Format(time.RFC3339)
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, keysPath, body, &out); err != nil {
				return err
			}
			return a.print(out, columns("ID api_key.id", "TENANT api_key.tenant", "SUBJECT api_key.subject", "ROLES api_key.roles", "GROUPS api_key.groups", "KEY key"))
		},
	}
	f := create.Flags()
	f.StringVar(&tenant, "tenant", "", "the tenant; empty for your own")
	f.StringVar(&subject, "subject", "", "who holds it; empty for one made from the key's id")
	f.StringSliceVar(&roles, "role", []string{"reader"}, "roles: admin, developer, reader")
	f.StringSliceVar(&groups, "group", nil, "groups, for access lists")
	f.IntVar(&perMinute, "requests-per-minute", 0, "its rate limit; 0 for the gateway's default")
	f.DurationVar(&expires, "expires-in", 0, "when it ends by itself; 0 for never")
	list := &cobra.Command{
		Use: "list", Short: "List API keys", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.list(cmd, keysPath, nil, "api_keys", 0, columns("ID id", "NAME name", "TENANT tenant", "SUBJECT subject", "ROLES roles", "GROUPS groups", "CREATED create_time", "REVOKED revoke_time"))
		},
	}
	revoke := &cobra.Command{
		Use: "revoke ID", Short: "Revoke an API key for good", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodDelete, joinPath(keysPath, args[0]), nil, &out); err != nil {
				return err
			}
			return a.print(out, columns("ID id", "NAME name", "REVOKED revoke_time"))
		},
	}
	return group("keys", "API keys", create, list, revoke)
}

const workersPath = "/v1/admin/workers"

func (a *app) workersCommand() *cobra.Command {
	lift := &cobra.Command{
		Use: "lift-quarantine WORKER MODEL-REF", Short: "Let a worker load what failed there again and again",
		Long: "Let a worker load what failed there again and again. MODEL-REF is a model's name for all of its versions that are in quarantine there, " +
			"or name@alias, name@v3 or name@sha256:… for one and its variants.",
		Args: exactArgs("WORKER", "MODEL-REF"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			path := joinPath(workersPath, args[0]) + ":liftQuarantine"
			if err := c.call(cmd.Context(), http.MethodPost, path, map[string]any{"model": args[1]}, &out); err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(out, nil)
			}
			return a.print(out["lifted"], columns("MODEL model", "VERSION version", "DIGEST digest", "ERROR error"))
		},
	}
	return group("workers", "Workers and what they serve", lift, &cobra.Command{
		Use: "list", Short: "List the workers that inference sees", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			workers, err := c.pages(cmd.Context(), workersPath, nil, "workers", 0)
			if err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(workers, nil)
			}
			return a.print(modelRows(workers), columns("WORKER worker", "ADDRESS address", "CONNECTED connected", "DRAINING draining",
				"MODEL model.name", "ENGINE model.engine", "STATE model.state", "FETCHED fetched", "ACTIVE model.active", "QUEUED model.queued", "ERROR model.error"))
		},
	})
}

// modelRows is a row for each model of each worker, and one for a worker that
// has none.
func modelRows(workers []any) []any {
	rows := []any{}
	for _, w := range workers {
		row := func(model any) map[string]any {
			return map[string]any{
				"worker": lookup(w, "state.worker_id"), "address": lookup(w, "address"), "connected": lookup(w, "connected"),
				"draining": lookup(w, "state.draining"), "model": model, "fetched": fetched(lookup(model, "fetch")),
			}
		}
		models, _ := lookup(w, "state.models").([]any)
		for _, m := range models {
			rows = append(rows, row(withState(m, lookup(w, "connected") == true)))
		}
		if len(models) == 0 {
			rows = append(rows, row(nil))
		}
	}
	return rows
}

// fetched says how far the fetching of a model's files is, or nothing when none
// are being fetched.
func fetched(progress any) string {
	number := func(key string) float64 { return number(lookup(progress, key)) }
	if progress == nil {
		return ""
	}
	const mib = 1 << 20
	text := fmt.Sprintf("%.0f MiB", number("done_bytes")/mib)
	if total := number("total_bytes"); total > 0 {
		text = fmt.Sprintf("%.0f%% of %.0f MiB", 100*number("done_bytes")/total, total/mib)
	}
	if rate := number("bytes_per_second"); rate > 0 {
		text += fmt.Sprintf(", %.1f MiB/s", rate/mib)
	}
	return text
}

// maxPageSize is the most that the gateway puts on one page.
const maxPageSize = 1000

// withState returns a worker's model with its state as models list says it:
// what a worker that is gone had is not there.
func withState(model any, connected bool) any {
	m, ok := model.(map[string]any)
	if !ok {
		return model
	}
	out := maps.Clone(m)
	state, _ := m["state"].(string)
	out["state"] = strings.ToLower(strings.TrimPrefix(state, "MODEL_STATE_"))
	if !connected {
		out["state"] = "gone"
	}
	return out
}

func (a *app) auditCommand() *cobra.Command {
	var limit int
	var requestID string
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
			return a.list(cmd, "/v1/admin/audit", query, "records", limit, columns("TIME time", "REQUEST request_id", "TENANT tenant", "SUBJECT subject", "METHOD method", "RESOURCE resource", "DECISION decision", "ERROR error_reason", "IN prompt_tokens", "OUT completion_tokens", "MS duration_ms"))
		},
	}
	list.Flags().IntVar(&limit, "limit", 50, "how many records, 1 or more")
	list.Flags().StringVar(&requestID, "request-id", "", "only this request")
	return group("audit", "The audit trail", list)
}

func (a *app) list(cmd *cobra.Command, path string, query url.Values, field string, limit int, cols []column) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	items, err := c.pages(cmd.Context(), path, query, field, limit)
	if err != nil {
		return err
	}
	return a.print(items, cols)
}

func (a *app) contextCommand() *cobra.Command {
	var ref clientReference
	set := &cobra.Command{
		Use: "set NAME", Short: "Make or change a context, and use it", Args: exactArgs("NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			ref.URL, ref.APIKey = firstOf(a.settings.url, defaultURL), a.settings.apiKey
			file, err := a.loadContexts()
			if err != nil {
				return err
			}
			if file.Contexts == nil {
				file.Contexts = map[string]clientReference{}
			}
			file.Contexts[args[0]], file.Current = ref, args[0]
			return a.saveContexts(file)
		},
	}
	set.Flags().StringVar(&ref.APIKeyFile, "api-key-file", "", "a file that holds the key, instead of --api-key")
	use := &cobra.Command{
		Use: "use NAME", Short: "Use a context from now on", Args: exactArgs("NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := a.loadContexts()
			if err != nil {
				return err
			}
			if _, ok := file.Contexts[args[0]]; !ok {
				return usagef("there is no context %q", args[0])
			}
			file.Current = args[0]
			return a.saveContexts(file)
		},
	}
	list := &cobra.Command{
		Use: "list", Short: "List the contexts", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			file, err := a.loadContexts()
			if err != nil {
				return err
			}
			items := []any{}
			for _, name := range slices.Sorted(maps.Keys(file.Contexts)) {
				items = append(items, map[string]any{"name": name, "url": file.Contexts[name].URL, "current": name == file.Current})
			}
			return a.print(items, columns("CONTEXT name", "GATEWAY url", "CURRENT current"))
		},
	}
	return group("context", "Gateways and keys that you use often", set, use, list)
}
