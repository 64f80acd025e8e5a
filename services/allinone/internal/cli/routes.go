package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
)

const routesPath = "/v1/admin/routes"

// maxRouteFile bounds what is read of a route's file.
const maxRouteFile = 1 << 20

const routesLong = `Routes say what is done with requests: which model is asked, how long it may take,
when it is asked again, and who answers instead. The route of the highest priority
that is about a request holds.

  poterne routes set big --models big --retry 2 --fallback small,hosted --first-token 5s
  poterne routes set tail --operations search,embed --hedge 80ms
  poterne routes set new --file route.yaml        # as get -o yaml prints one
  poterne routes test --model big --header x-team=a`

func (a *app) routesCommand() *cobra.Command {
	cmd := group("routes", "What is done with requests: models, times, retries, fallbacks",
		a.routesListCommand(), a.routesGetCommand(), a.routesSetCommand(), a.routesDeleteCommand(), a.routesTestCommand())
	cmd.Long = routesLong
	return cmd
}

func routeColumns() []column {
	return columns("NAME name", "PRIORITY priority 0", "OPERATIONS match.operations", "MODELS match.models", "TENANTS match.tenants", "MODEL model", "ATTEMPTS retry.attempts",
		"FALLBACK fallback.models", "HEDGE hedge_delay", "DISABLED disabled", "ETAG etag")
}

func (a *app) routesListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List routes; -o yaml shows all of them", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			routes, err := c.pages(cmd.Context(), routesPath, nil, "routes", 0)
			if err != nil {
				return err
			}
			return a.print(routes, routeColumns())
		},
	}
}

func (a *app) routesGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get NAME", Short: "Show a route; -o yaml shows all of it", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := a.item(cmd.Context(), joinPath(routesPath, args[0]))
			if err != nil {
				return err
			}
			if a.settings.output == "table" {
				return a.print([]any{out["route"]}, routeColumns())
			}
			return a.print(out["route"], nil)
		},
	}
}

// routeFlags is a route in words.
type routeFlags struct {
	file                                                      string
	operations, paths, models, tenants, subjects, keys, heads []string
	model, sticky, mirror                                     string
	priority                                                  int32
	request, attempt, firstToken, backoff, maxBackoff, hedge  time.Duration
	attempts                                                  int32
	retryOn, fallback, fallbackOn                             []string
	percent                                                   float64
	disabled                                                  bool
}

func (f *routeFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVarP(&f.file, "file", "f", "", "a YAML or JSON file with the route, in place of the other flags; - for standard input")
	fs.StringSliceVar(&f.operations, "operations", nil, "about these: chat, completion, embed, rerank, search")
	fs.StringSliceVar(&f.paths, "paths", nil, "about these paths, or gRPC methods; * stands for anything")
	fs.StringSliceVar(&f.models, "models", nil, "about these models")
	fs.StringArrayVar(&f.heads, "header", nil, "about requests with this header: NAME (present), NAME=VALUE, or NAME=PREFIX*")
	fs.StringSliceVar(&f.tenants, "tenants", nil, "about these tenants")
	fs.StringSliceVar(&f.subjects, "subjects", nil, "about these subjects")
	fs.StringSliceVar(&f.keys, "keys", nil, "about these API keys, by their ids")
	fs.Int32Var(&f.priority, "priority", 0, "the highest of the routes about a request holds")
	fs.StringVar(&f.model, "model", "", "ask this model instead of the request's")
	fs.DurationVar(&f.request, "timeout", 0, "the time of all attempts together")
	fs.DurationVar(&f.attempt, "attempt-timeout", 0, "the time of an attempt that is no stream")
	fs.DurationVar(&f.firstToken, "first-token", 0, "the time to the first piece of a stream")
	fs.Int32Var(&f.attempts, "retry", 0, "how often the same model is asked in all, at most 5")
	fs.StringSliceVar(&f.retryOn, "retry-on", nil, "after these: unreached, unavailable, overloaded, engine-failed, timeout")
	fs.DurationVar(&f.backoff, "backoff", 0, "the pause before the second attempt")
	fs.DurationVar(&f.maxBackoff, "max-backoff", 0, "the longest pause")
	fs.StringSliceVar(&f.fallback, "fallback", nil, "ask these models, in this order")
	fs.StringSliceVar(&f.fallbackOn, "fallback-on", nil, "after these: those of --retry-on, context-length, model-not-found (default the former)")
	fs.StringVar(&f.sticky, "sticky", "", "keep requests on one worker by: principal, header=NAME or cookie=NAME")
	fs.StringVar(&f.mirror, "mirror", "", "have this model work on some of the requests, too")
	fs.Float64Var(&f.percent, "mirror-percent", 100, "on so many per cent")
	fs.DurationVar(&f.hedge, "hedge", 0, "ask a second time after that, for embeddings and search")
	fs.BoolVar(&f.disabled, "disabled", false, "be about nothing, and hide what the configuration has of this name")
}

// route is the route as the contract has it.
func (f *routeFlags) route(in io.Reader) (map[string]any, error) {
	if f.file != "" {
		return readRoute(f.file, in)
	}
	seconds := func(d time.Duration) any {
		if d == 0 {
			return nil
		}
		return fmt.Sprintf("%gs", d.Seconds())
	}
	operations, err := routeOperations().nameAll("operations", f.operations)
	if err != nil {
		return nil, err
	}
	retryOn, err := routeReasons().nameAll("retry-on", f.retryOn)
	if err != nil {
		return nil, err
	}
	fallbackOn, err := routeReasons().nameAll("fallback-on", f.fallbackOn)
	if err != nil {
		return nil, err
	}
	out := map[string]any{
		"priority": f.priority, "model": f.model, "disabled": f.disabled, "hedge_delay": seconds(f.hedge),
		"match": map[string]any{
			"operations": operations, "paths": f.paths, "models": f.models, "headers": headerMatches(f.heads),
			"tenants": f.tenants, "subjects": f.subjects, "keys": f.keys,
		},
		"timeouts": map[string]any{"request": seconds(f.request), "attempt": seconds(f.attempt), "first_token": seconds(f.firstToken)},
		"retry":    map[string]any{"attempts": f.attempts, "on": retryOn, "backoff": seconds(f.backoff), "max_backoff": seconds(f.maxBackoff)},
		"fallback": map[string]any{"models": f.fallback, "on": fallbackOn},
	}
	if by, name, _ := strings.Cut(f.sticky, "="); by != "" {
		out["sticky"] = map[string]any{"by": by, "name": name}
	}
	if f.mirror != "" {
		out["mirror"] = map[string]any{"model": f.mirror, "percent": f.percent}
	}
	return out, nil
}

func headerMatches(list []string) []map[string]any {
	var out []map[string]any
	for _, h := range list {
		name, value, given := strings.Cut(h, "=")
		m := map[string]any{"name": strings.ToLower(name)}
		prefix, open := strings.CutSuffix(value, "*")
		switch {
		case !given || value == "*":
			m["present"] = true
		case open:
			m["prefix"] = prefix
		default:
			m["value"] = value
		}
		out = append(out, m)
	}
	return out
}

// readRoute reads a route as routes get -o yaml prints it.
func readRoute(path string, in io.Reader) (map[string]any, error) {
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("route: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxRouteFile+1))
	if err != nil {
		return nil, fmt.Errorf("route: %w", err)
	}
	if len(raw) > maxRouteFile {
		return nil, usagef("%s is over %d MiB, which no route is", path, maxRouteFile>>20)
	}
	out := make(map[string]any)
	if err := yaml.Unmarshal(raw, &out); err != nil {
		return nil, usagef("%s is no route: %w", path, err)
	}
	for _, name := range []string{"name", "etag", "author", "create_time", "update_time"} {
		delete(out, name) // what the gateway says of it
	}
	return out, nil
}

func (a *app) routesSetCommand() *cobra.Command {
	var f routeFlags
	var etag string
	var check bool
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Keep a route in place of what has its name", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			route, err := f.route(a.streams.In)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			body := map[string]any{"etag": etag, "validate_only": check, "route": route}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPut, joinPath(routesPath, args[0]), body, &out); err != nil {
				return err
			}
			a.warn("", out["warnings"])
			return a.print([]any{out["route"]}, routeColumns())
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&etag, "etag", "", "only when the route has this etag; 0 when there is none")
	cmd.Flags().BoolVar(&check, "check", false, "only check it")
	return cmd
}

// warn tells of warnings, each with what it is about before it.
func (a *app) warn(about string, warnings any) {
	list, _ := warnings.([]any)
	for _, w := range list {
		_, _ = fmt.Fprintf(a.streams.Err, "warning: %s%v\n", about, w)
	}
}

func (a *app) routesDeleteCommand() *cobra.Command {
	var etag string
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Remove a route; what the configuration has of its name holds again", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := c.call(cmd.Context(), http.MethodDelete, joinPath(routesPath, args[0])+"?"+url.Values{"etag": {etag}}.Encode(), nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.streams.Out, "route %s is removed\n", args[0])
			return err
		},
	}
	cmd.Flags().StringVar(&etag, "etag", "", "only when the route has this etag")
	return cmd
}
