package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"github.com/spf13/cobra"

	"github.com/poterne/poterne/services/allinone/internal/declare"
)

// errDiffers says that diff found differences: they are printed, the error is not.
var errDiffers = errors.New("there are differences")

const applyLong = `Files hold any number of YAML documents, each of a kind:

  kind: Model
  name: smollm2-135m
  display_name: SmolLM2
  labels: {team: search, poterne.dev/max-quality-loss: "0.05", old: null}  # null removes
  ---
  kind: Version
  model: smollm2-135m
  name: november        # for the other documents; the registry does not keep it
  description: the first one
  spec:
    task: chat
    engine: llama-server
    artifacts:
      - path: ./SmolLM2.gguf    # from where the file is; its SHA-256 is taken
      - {uri: "https://example.org/t.json", sha256: 0a…, role: tokenizer}
    parameters: {threads: "4"}
    context_length: 4096
  ---
  kind: Alias
  model: smollm2-135m
  name: production
  version: november     # or a number, or sha256:…
  ---
  kind: Split
  model: smollm2-135m
  arms: [{name: control, version: 1, percent: 90}, {name: candidate, version: november, percent: 10}]

The other kinds are Experiment, Rollout, Prompt and AliasProtection; docs/registry.md
has one of each. get -o yaml of each kind prints a document that changes nothing.

What the documents do not speak of stays as it is; nothing is deleted.`

func (a *app) applyCommand() *cobra.Command {
	var places []string
	var dryRun bool
	cmd := &cobra.Command{
		Use: "apply -f FILE|DIRECTORY|-", Short: "Have models, versions, experiments, prompts and the rest of the registry as files say", Args: noArgs,
		Long: applyLong,
		RunE: func(cmd *cobra.Command, _ []string) error {
			registry, changes, err := a.plan(cmd.Context(), places)
			if err != nil {
				return err
			}
			var done []any
			if dryRun {
				for _, c := range changes {
					done = append(done, row(c))
				}
			} else {
				err = declare.Apply(cmd.Context(), registry, changes, func(c *declare.Change) { done = append(done, row(c)) })
			}
			if printed := a.print(done, columns("ACTION action", "RESOURCE resource")); printed != nil {
				return printed
			}
			if err != nil {
				return err
			}
			for _, c := range changes {
				if c.Waiting != "" {
					fmt.Fprintf(a.streams.Err, "%s is protected and stays as it is until another approves the change %s: poterne aliases approve\n", c.Resource, c.Waiting)
				}
			}
			a.summarise(changes, dryRun)
			return nil
		},
	}
	filesFlag(cmd, &places)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done, and do nothing")
	return cmd
}

func (a *app) diffCommand() *cobra.Command {
	var places []string
	cmd := &cobra.Command{
		Use: "diff -f FILE|DIRECTORY|-", Short: "Show what apply would change; the exit code is 1 when there is something", Args: noArgs,
		Long: applyLong,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, changes, err := a.plan(cmd.Context(), places)
			if err != nil {
				return err
			}
			differs := false
			for _, c := range changes {
				if c.Action == declare.None {
					continue
				}
				differs = true
				fmt.Fprint(a.streams.Out, udiff.Unified("registry: "+c.Resource, "files: "+c.Resource, c.Before, c.After))
			}
			if differs {
				return errDiffers
			}
			return nil
		},
	}
	filesFlag(cmd, &places)
	return cmd
}

func filesFlag(cmd *cobra.Command, places *[]string) {
	cmd.Flags().StringArrayVarP(places, "file", "f", nil, "a file, a directory of .yaml files, or - for stdin; may be repeated")
}

func (a *app) plan(ctx context.Context, places []string) (declare.Registry, []*declare.Change, error) {
	if len(places) == 0 {
		return nil, nil, usagef("-f is needed")
	}
	documents, err := declare.Read(places, a.streams.In)
	if err != nil {
		return nil, nil, usageError{err}
	}
	c, err := a.client()
	if err != nil {
		return nil, nil, err
	}
	registry := restRegistry{c}
	changes, err := declare.Plan(ctx, registry, documents)
	return registry, changes, err
}

func row(c *declare.Change) any {
	out := map[string]any{"action": c.Action, "resource": c.Resource}
	if c.Action != declare.None {
		out["before"], out["after"] = c.Before, c.After
	}
	if c.Waiting != "" {
		out["waiting"] = c.Waiting
	}
	return out
}

// summarise says in one line on stderr what was done, so that stdout stays what
// was asked for.
func (a *app) summarise(changes []*declare.Change, dryRun bool) {
	count := make(map[string]int)
	for _, c := range changes {
		count[c.Action]++
	}
	if count[declare.None] == len(changes) {
		fmt.Fprintf(a.streams.Err, "nothing to change: %d resources are as the files say\n", len(changes))
		return
	}
	said := []string{"created", "updated"}
	if dryRun {
		said = []string{"to create", "to update"}
	}
	fmt.Fprintf(a.streams.Err, "%d %s, %d %s, %d as they were\n",
		count[declare.Create], said[0], count[declare.Update], said[1], count[declare.None])
}

// restRegistry is the gateway as package declare needs it.
type restRegistry struct{ *client }

// Get implements declare.Registry.
func (r restRegistry) Get(ctx context.Context, path string, out any) (bool, error) {
	err := r.call(ctx, http.MethodGet, path, nil, out)
	if hasStatus(err, http.StatusNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Send implements declare.Registry.
func (r restRegistry) Send(ctx context.Context, method, path string, body, out any) error {
	return r.call(ctx, method, path, body, out)
}

// IsConflict implements declare.Registry.
func (r restRegistry) IsConflict(err error) bool { return hasStatus(err, http.StatusConflict) }

func hasStatus(err error, status int) bool {
	known, ok := errors.AsType[*apiError](err)
	return ok && known.Status == status
}

// versionFields are the columns of versions.
func versionFields() []column {
	return columns("MODEL model", "VERSION number", "DIGEST digest", "ENGINE spec.engine", "CREATED create_time", "DESCRIPTION description")
}

// heading begins a part of a description.
func (a *app) heading(format string, args ...any) {
	fmt.Fprintf(a.streams.Out, "\n%s\n", strings.ToUpper(fmt.Sprintf(format, args...)))
}
