package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/config"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/registry/modelsource"
)

func (a *app) registryCommand() *cobra.Command {
	return group("registry", "Move models in from elsewhere, and everything to another registry", a.registryImportCommand(), a.registryExportCommand(),
		a.registryChangesCommand())
}

func (a *app) registryImportCommand() *cobra.Command {
	var opts archiveImport
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Bring in an archive of `registry export`, or models of MLflow, Ollama or Hugging Face", Args: exactArgs("FILE"),
		Long: `Brings in an archive of registry export, in one transaction: everything or nothing.
The whole archive is held against its manifest first, and the registry computes every
digest anew. Models that are there as they are in the archive stay as they are;
--conflict says what is done with others. The subcommands bring models in from other
tools.`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.importArchive(cmd.Context(), args[0], opts) },
	}
	cmd.Flags().BoolVar(&opts.dryRun, "dry-run", false, "report what would be done, change nothing")
	cmd.Flags().StringVar(&opts.conflict, "conflict", "fail", "when another model has the name: fail (nothing is imported), skip or replace")
	cmd.Flags().StringVar(&opts.artifactsDir, "artifacts-dir", "", "write the archive's artifacts into this directory and name them there")
	cmd.AddCommand(a.importMLflowCommand(), a.importOllamaCommand(), a.importHuggingFaceCommand())
	return cmd
}

// moving is what every import is told.
type moving struct {
	dryRun, moveAliases bool
	engine, task, file  string
	aliases             []string
	maxBytes            string
}

func (m *moving) bind(f *pflag.FlagSet) {
	f.BoolVar(&m.dryRun, "dry-run", false, "read and report everything, change nothing")
	f.StringVar(&m.maxBytes, "max-bytes", "256GiB", "the largest file that is read; a model with a larger one is skipped")
	f.StringArrayVar(&m.aliases, "alias", nil, "an alias to point at what is imported; may be repeated")
	f.BoolVar(&m.moveAliases, "move-aliases", false, "move aliases that name another version here already")
}

func (m *moving) options() (modelsource.Options, error) {
	opts := modelsource.Options{Engine: m.engine, File: m.file}
	var bytes config.Bytes
	if err := bytes.UnmarshalText([]byte(m.maxBytes)); err != nil || bytes < 1 {
		return opts, usagef("--max-bytes must be a size such as 64GiB, got %q", m.maxBytes)
	}
	opts.MaxBytes = int64(bytes)
	if m.task != "" {
		number, ok := commonv1.Task_value["TASK_"+strings.ToUpper(m.task)]
		if !ok || number == 0 {
			return opts, usagef("--task must be chat, embedding, rerank or tensor, got %q", m.task)
		}
		opts.Task = commonv1.Task(number)
	}
	return opts, nil
}

// The outcomes of an item.
const (
	outcomeCreated   = "created"
	outcomeUnchanged = "unchanged"
	outcomeSkipped   = "skipped"
	outcomeFailed    = "failed"
)

// mover writes into the registry what an import found, and keeps the report.
type mover struct {
	client *client
	cfg    moving
	report []any
	failed int
}

// note adds a line to the report: what it is there, what became of it, what it is
// here, and what could not be mapped.
func (m *mover) note(item, outcome, here string, notes []string) {
	if m.cfg.dryRun && outcome == outcomeCreated {
		outcome = "would be " + outcome
	}
	if outcome == outcomeFailed {
		m.failed++
	}
	m.report = append(m.report, map[string]any{"item": item, "outcome": outcome, "here": here, "notes": notes})
}

// finish prints the report; its end is an error when something failed.
func (m *mover) finish(a *app) error {
	if err := a.print(m.report, columns("ITEM item", "OUTCOME outcome", "HERE here", "NOTES notes")); err != nil {
		return err
	}
	if m.failed > 0 {
		return fmt.Errorf("%d item(s) failed; the same command again goes on with them", m.failed)
	}
	return nil
}

// refused notes what an error says of an item, and returns it when there is no use
// in going on with the next one.
func (m *mover) refused(ctx context.Context, item string, err error) error {
	var known *apiError
	switch {
	case errors.Is(err, modelsource.ErrNotServed):
		m.note(item, outcomeSkipped, "", []string{err.Error()})
	case ctx.Err() != nil, errors.As(err, &known) && (known.Status == http.StatusUnauthorized || known.Status == http.StatusForbidden):
		return err
	default:
		m.note(item, outcomeFailed, "", []string{err.Error()})
	}
	return nil
}

// model makes sure that a model is there. One that is stays as it is.
func (m *mover) model(ctx context.Context, item, name string, body map[string]any, notes []string) error {
	err := m.client.call(ctx, http.MethodGet, modelPath(name), nil, nil)
	if err == nil {
		m.note(item, outcomeUnchanged, name, notes)
		return nil
	}
	if !isNotFound(err) {
		return err
	}
	if !m.cfg.dryRun {
		body["name"] = name
		if err := m.client.call(ctx, http.MethodPost, modelsPath, body, nil); err != nil {
			return err
		}
	}
	m.note(item, outcomeCreated, name, notes)
	return nil
}

func isNotFound(err error) bool {
	known, ok := errors.AsType[*apiError](err)
	return ok && known.Status == http.StatusNotFound
}

// version makes sure that a model has a version of this content, and returns its
// number; 0 when a dry run would have made it.
func (m *mover) version(ctx context.Context, item, model string, found *modelsource.Found, said map[string]any) (int, error) {
	number, err := m.numberOf(ctx, model, found.Spec)
	if err != nil {
		return 0, err
	}
	outcome := outcomeUnchanged
	if number == 0 {
		outcome = outcomeCreated
		if !m.cfg.dryRun {
			raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(found.Spec)
			if err != nil {
				return 0, fmt.Errorf("specification: %w", err)
			}
			said["spec"] = json.RawMessage(raw)
			var made struct{ Number int }
			if err := m.client.call(ctx, http.MethodPost, modelPath(model, "versions"), said, &made); err != nil {
				return 0, err
			}
			number = made.Number
		}
	}
	here := model
	if number > 0 {
		here = fmt.Sprintf("%s@v%d", model, number)
	}
	m.note(item, outcome, here, found.Notes)
	return number, nil
}

// numberOf finds the version that has this content, wherever its files lie; 0 when
// there is none.
func (m *mover) numberOf(ctx context.Context, model string, spec *commonv1.ModelSpec) (int, error) {
	items, err := m.client.pages(ctx, modelPath(model, "versions"), nil, "versions", 0)
	if err != nil {
		if isNotFound(err) {
			return 0, nil
		}
		return 0, err
	}
	want := withoutPlaces(spec)
	for _, item := range items {
		raw, err := json.Marshal(item)
		if err != nil {
			return 0, err
		}
		var v struct {
			Number int
			Spec   json.RawMessage
		}
		there := new(commonv1.ModelSpec)
		if err := json.Unmarshal(raw, &v); err != nil {
			return 0, fmt.Errorf("a version of %s: %w", model, err)
		}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(v.Spec, there); err != nil {
			return 0, fmt.Errorf("a version of %s: %w", model, err)
		}
		if proto.Equal(withoutPlaces(there), want) {
			return v.Number, nil
		}
	}
	return 0, nil
}

// withoutPlaces is what of a specification its digest covers.
func withoutPlaces(spec *commonv1.ModelSpec) *commonv1.ModelSpec {
	out := proto.CloneOf(spec)
	artifacts := out.GetArtifacts()
	for _, adapter := range out.GetAdapters() {
		artifacts = append(slices.Clone(artifacts), adapter.GetArtifacts()...)
	}
	for _, a := range artifacts {
		a.Uri = ""
		if a.GetRole() == "" {
			a.Role = "weights"
		}
	}
	return out
}

// alias points an alias at a version, unless somebody pointed it elsewhere here.
func (m *mover) alias(ctx context.Context, model, alias string, version int) error {
	item := "alias " + alias + " of " + model
	here := fmt.Sprintf("%s@%s", model, alias)
	if !aliasName.MatchString(alias) {
		m.note(item, outcomeSkipped, "", []string{"an alias here has lower-case letters, digits, '.', '_' and '-', and begins with a letter"})
		return nil
	}
	var there struct {
		Version int
		Etag    string
	}
	err := m.client.call(ctx, http.MethodGet, modelPath(model, "aliases", alias), nil, &there)
	switch {
	case err != nil && !isNotFound(err):
		return err
	case err == nil && there.Version == version:
		m.note(item, outcomeUnchanged, here, nil)
		return nil
	case err == nil && !m.cfg.moveAliases:
		m.note(item, outcomeSkipped, here, []string{fmt.Sprintf("names version %d here: --move-aliases moves it", there.Version)})
		return nil
	}
	if !m.cfg.dryRun {
		body := map[string]any{"version": version, "etag": there.Etag}
		if err := m.client.call(ctx, http.MethodPut, modelPath(model, "aliases", alias), body, nil); err != nil {
			return err
		}
	}
	m.note(item, outcomeCreated, here, nil)
	return nil
}

var (
	aliasName  = regexp.MustCompile(`^[a-z][a-z0-9._-]{0,62}$`)
	labelName  = regexp.MustCompile(`^[a-z0-9][a-z0-9._/-]{0,62}$`)
	metricName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/@-]{0,62}$`)
)

const (
	maxModelName  = 128
	maxLabels     = 64
	maxLabelValue = 256
	maxMetrics    = 64
)

// plainModelName is a name in the form that the registry takes; "" when nothing of
// it is left.
func plainModelName(name string) string {
	plain := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}, strings.ToLower(name))
	plain = strings.TrimLeft(plain, "._-")
	return plain[:min(len(plain), maxModelName)]
}

// labelsOf keeps what is a label here, and says what is not.
func labelsOf(pairs map[string]string) (labels map[string]string, notes []string) {
	labels = map[string]string{}
	var dropped []string
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		if value := pairs[key]; labelName.MatchString(key) && len([]rune(value)) <= maxLabelValue && len(labels) < maxLabels {
			labels[key] = value
			continue
		}
		dropped = append(dropped, key)
	}
	if len(dropped) > 0 {
		notes = []string{"no labels here, by name, length or number: " + shortList(dropped)}
	}
	return labels, notes
}

// metricsOf keeps what is a metric here, and says what is not.
func metricsOf(all map[string]float64) (metrics map[string]float64, notes []string) {
	metrics = map[string]float64{}
	var dropped []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if v := all[name]; metricName.MatchString(name) && !math.IsNaN(v) && !math.IsInf(v, 0) && len(metrics) < maxMetrics {
			metrics[name] = v
			continue
		}
		dropped = append(dropped, name)
	}
	if len(dropped) > 0 {
		notes = []string{"no metrics here, by name, value or number: " + shortList(dropped)}
	}
	return metrics, notes
}

func shortList(names []string) string {
	const most = 8
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// shortText cuts a text to so many characters, and says so.
func shortText(text string, most int, notes *[]string) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7f {
			return -1
		}
		return r
	}, text))
	if len(runes) <= most {
		return string(runes)
	}
	*notes = append(*notes, fmt.Sprintf("its description was cut to %d characters", most))
	return string(runes[:most])
}
