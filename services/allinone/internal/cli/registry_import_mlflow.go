package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/services/allinone/internal/mlflow"
	"github.com/poterne/poterne/services/registry/modelsource"
)

const maxDescription = 4096

func (a *app) importMLflowCommand() *cobra.Command {
	var cfg moving
	var uri string
	cmd := &cobra.Command{
		Use: "mlflow --tracking-uri URL", Short: "Import the registered models of an MLflow tracking server", Args: noArgs,
		Long: `Makes models, versions and aliases of everything in an MLflow model registry. Every
artifact is read once, to take its SHA-256, and stays where it is. Running it again
changes nothing; models that are there keep what is said of them. What has no place
here is in the report: docs/moving-in.md. Credentials are those of MLflow's own
clients: MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD.`,
		Example: "  poterne registry import mlflow --tracking-uri http://127.0.0.1:5000 --dry-run",
		RunE: func(cmd *cobra.Command, _ []string) error {
			source, err := mlflow.New(uri, mlflow.Credentials{
				Token: a.getenv("MLFLOW_TRACKING_TOKEN"), Username: a.getenv("MLFLOW_TRACKING_USERNAME"), Password: a.getenv("MLFLOW_TRACKING_PASSWORD"),
			})
			if err != nil {
				return usageError{fmt.Errorf("--tracking-uri: %w", err)}
			}
			return a.move(cfg, func(m *mover, opts modelsource.Options) error {
				return (&mlflowImport{mover: m, source: source, opts: opts, names: map[string]string{}}).run(cmd.Context())
			})
		},
	}
	cfg.bind(cmd.Flags())
	cmd.Flags().StringVar(&uri, "tracking-uri", "", "the tracking server, http://host:port")
	return cmd
}

type mlflowImport struct {
	*mover
	source *mlflow.Client
	opts   modelsource.Options
	names  map[string]string // here, to the one there that has it
}

func (i *mlflowImport) run(ctx context.Context) error {
	return i.source.Models(ctx, func(model mlflow.Model) error {
		if err := i.model(ctx, model); err != nil {
			return i.refused(ctx, model.Name, err)
		}
		return nil
	})
}

func (i *mlflowImport) model(ctx context.Context, model mlflow.Model) error {
	name := plainModelName(model.Name)
	if name == "" {
		i.note(model.Name, outcomeSkipped, "", []string{"nothing of its name is left in the form that names have here"})
		return nil
	}
	if other, taken := i.names[name]; taken {
		i.note(model.Name, outcomeSkipped, "", []string{fmt.Sprintf("its name here, %q, is that of %q already", name, other)})
		return nil
	}
	i.names[name] = model.Name
	labels, notes := labelsOf(tagPairs(model.Tags))
	body := map[string]any{"labels": labels}
	if name != model.Name && len([]rune(model.Name)) <= maxLabelValue {
		body["display_name"] = model.Name
	}
	if model.Description != "" {
		// A character takes four bytes at most.
		body["card"] = shortText(model.Description, maxCardBytes/4, &notes)
	}
	if err := i.mover.model(ctx, model.Name, name, body, notes); err != nil {
		return err
	}
	numbers, err := i.versions(ctx, model, name)
	if err != nil {
		return err
	}
	return i.aliases(ctx, model, name, numbers)
}

// versions brings in a model's versions in their order, and returns what each
// became.
func (i *mlflowImport) versions(ctx context.Context, model mlflow.Model, name string) (map[string]int, error) {
	var all []mlflow.Version
	err := i.source.Versions(ctx, model.Name, func(v mlflow.Version) error {
		all = append(all, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b mlflow.Version) int { return cmp.Compare(ordinal(a), ordinal(b)) })
	numbers := map[string]int{}
	stages := map[string]string{}
	for _, v := range all {
		item := fmt.Sprintf("%s version %s", model.Name, v.Version)
		number, err := i.oneVersion(ctx, item, name, v)
		if err != nil {
			if err := i.refused(ctx, item, err); err != nil {
				return nil, err
			}
			continue
		}
		numbers[v.Version] = number
		if v.Stage == "Production" || v.Stage == "Staging" {
			stages[strings.ToLower(v.Stage)] = v.Version
		}
	}
	for stage, version := range stages {
		if !slices.ContainsFunc(model.Aliases, func(a mlflow.Alias) bool { return a.Alias == stage }) && numbers[version] > 0 {
			if err := i.alias(ctx, name, stage, numbers[version]); err != nil {
				return nil, err
			}
		}
	}
	return numbers, nil
}

func ordinal(v mlflow.Version) int {
	n, _ := strconv.Atoi(v.Version) // what is no number comes first
	return n
}

func (i *mlflowImport) oneVersion(ctx context.Context, item, model string, v mlflow.Version) (int, error) {
	if v.Status != "" && v.Status != "READY" {
		return 0, fmt.Errorf("%w: its status is %s", modelsource.ErrNotServed, v.Status)
	}
	uri, err := i.source.ArtifactURI(ctx, v.Name, v.Version)
	if err != nil {
		return 0, err
	}
	place, err := i.source.Place(uri)
	if err != nil {
		return 0, err
	}
	found, err := modelsource.Read(ctx, place, i.opts)
	if err != nil {
		return 0, err
	}
	said := map[string]any{}
	all := tagPairs(v.Tags)
	if v.RunID != "" {
		if err := i.runOf(ctx, v.RunID, all, said, found); err != nil {
			return 0, err
		}
	}
	labels, notes := labelsOf(all)
	found.Notes = append(found.Notes, notes...)
	said["labels"], said["description"] = labels, shortText(v.Description, maxDescription, &found.Notes)
	return i.version(ctx, item, model, found, said)
}

// runOf says of a version which run made it: its metrics are the version's, its
// parameters labels that begin with `param/`.
func (i *mlflowImport) runOf(ctx context.Context, id string, labels map[string]string, said map[string]any, found *modelsource.Found) error {
	said["lineage"] = map[string]any{"training_run_uri": i.source.RunURI(id)}
	run, err := i.source.Run(ctx, id)
	if known, ok := errors.AsType[*mlflow.Error](err); ok && known.Code == "RESOURCE_DOES_NOT_EXIST" {
		found.Notes = append(found.Notes, "its run is gone: no metrics and no parameters")
		return nil
	}
	if err != nil {
		return err
	}
	all := map[string]float64{}
	for _, m := range run.Metrics {
		if value, ok := m.Value.(float64); ok {
			all[m.Key] = value
		}
	}
	metrics, notes := metricsOf(all)
	found.Notes = append(found.Notes, notes...)
	said["metrics"] = metrics
	for _, p := range run.Params {
		// A label's name is in lower-case letters; the first of two keeps it.
		if key := "param/" + strings.ToLower(p.Key); labels[key] == "" {
			labels[key] = p.Value
		}
	}
	return nil
}

func (i *mlflowImport) aliases(ctx context.Context, model mlflow.Model, name string, numbers map[string]int) error {
	for _, a := range model.Aliases {
		number, known := numbers[a.Version]
		switch {
		case !known:
			i.note("alias "+a.Alias+" of "+name, outcomeSkipped, "", []string{"its version " + a.Version + " was not imported"})
		case number == 0: // of a dry run
			i.note("alias "+a.Alias+" of "+name, outcomeCreated, name+"@"+a.Alias, nil)
		default:
			if err := i.alias(ctx, name, a.Alias, number); err != nil {
				if err := i.refused(ctx, "alias "+a.Alias+" of "+name, err); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func tagPairs(tags []mlflow.Tag) map[string]string {
	out := make(map[string]string, len(tags))
	for _, t := range tags {
		out[t.Key] = t.Value
	}
	return out
}
