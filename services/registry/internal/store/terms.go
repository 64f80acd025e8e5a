package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// The keys of terms: what a filter may ask for besides columns.
const (
	termTask     = "task"
	termEngine   = "engine"
	termLicence  = "licence"
	termOwner    = "owner"
	termTenant   = "tenant"
	termParent   = "lineage.parent_version"
	termRun      = "lineage.training_run_uri"
	termSigned   = "signed"
	labelsPrefix = "labels."
)

// taskName is how filters call a task: chat, embedding, tensor or rerank.
func taskName(t commonv1.Task) string {
	if t == commonv1.Task_TASK_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(t.String(), "TASK_"))
}

// taskNames are all that filters may call a task.
func taskNames() []string {
	var out []string
	for n := range int32(len(commonv1.Task_name)) {
		if name := taskName(commonv1.Task(n)); name != "" {
			out = append(out, name)
		}
	}
	return out
}

func versionTerms(v *registryv1.Version) map[string]string {
	terms := map[string]string{
		termTask: taskName(v.GetSpec().GetTask()), termEngine: v.GetSpec().GetEngine(), termLicence: v.GetLicence(),
		termRun: v.GetLineage().GetTrainingRunUri(), termSigned: strconv.FormatBool(len(v.GetSignatures()) > 0),
	}
	if n := v.GetLineage().GetParentVersion(); n > 0 {
		terms[termParent] = strconv.Itoa(int(n))
	}
	return withLabels(terms, v.GetLabels())
}

func modelTerms(m *registryv1.Model) map[string]string {
	return withLabels(map[string]string{
		termTask: taskName(m.GetTask()), termOwner: m.GetOwner(), termTenant: m.GetTenant(), termLicence: m.GetLicence(),
	}, m.GetLabels())
}

// withLabels adds labels to terms. PostgreSQL stores no NUL, and of a label that
// has one nobody asks.
func withLabels(terms, labels map[string]string) map[string]string {
	for name, value := range labels {
		if !strings.Contains(value, "\x00") {
			terms[labelsPrefix+name] = value
		}
	}
	maps.DeleteFunc(terms, func(key, value string) bool { return value == "" && !strings.HasPrefix(key, labelsPrefix) })
	return terms
}

// indexVersion writes what the version can be found by.
func (c *change) indexVersion(ctx context.Context, v *registryv1.Version) error {
	for _, table := range []string{"registry_version_terms", "registry_version_metrics"} {
		if err := c.exec(ctx, `DELETE FROM `+table+` WHERE model = $1 AND version = $2`, v.GetModel(), v.GetNumber()); err != nil {
			return err
		}
	}
	if err := insertAll(ctx, c, `INSERT INTO registry_version_terms (key, value, model, version) VALUES `, versionTerms(v),
		v.GetModel(), v.GetNumber()); err != nil {
		return err
	}
	if err := insertAll(ctx, c, `INSERT INTO registry_version_metrics (name, value, model, version) VALUES `, v.GetMetrics(),
		v.GetModel(), v.GetNumber()); err != nil {
		return err
	}
	return c.exec(ctx, `UPDATE registry_versions SET indexed = 1 WHERE model = $1 AND number = $2 AND indexed = 0`, v.GetModel(), v.GetNumber())
}

// indexModel writes what the model can be found by.
func (c *change) indexModel(ctx context.Context, m *registryv1.Model) error {
	if err := c.exec(ctx, `DELETE FROM registry_model_terms WHERE model = $1`, m.GetName()); err != nil {
		return err
	}
	if err := insertAll(ctx, c, `INSERT INTO registry_model_terms (key, value, model) VALUES `, modelTerms(m), m.GetName()); err != nil {
		return err
	}
	return c.exec(ctx, `UPDATE registry_models SET indexed = 1 WHERE name = $1 AND indexed = 0`, m.GetName())
}

// insertAll inserts a row for each entry: its key and value, then what all have
// in common, with one statement.
func insertAll[V any](ctx context.Context, c *change, insert string, entries map[string]V, common ...any) error {
	if len(entries) == 0 {
		return nil
	}
	args := slices.Clone(common)
	var rest strings.Builder
	for i := range common {
		fmt.Fprintf(&rest, ", $%d", i+1)
	}
	rows := make([]string, 0, len(entries))
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		args = append(args, key, entries[key])
		rows = append(rows, fmt.Sprintf("($%d, $%d%s)", len(args)-1, len(args), rest.String()))
	}
	return c.exec(ctx, insert+strings.Join(rows, ", "), args...)
}

// index writes what older versions and models can be found by, that were made
// before there were tables for it. It is not a change: nothing is said anew.
func (s *Store) index(ctx context.Context) error {
	const atOnce = 500
	for {
		n := 0
		err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
			turn := &change{tx: tx}
			if err := lockChanges(ctx, tx); err != nil {
				return err
			}
			models, err := collect(ctx, tx, scanModel, `SELECT `+modelColumns+` FROM registry_models WHERE indexed = 0 ORDER BY name LIMIT $1`, atOnce)
			if err != nil {
				return err
			}
			versions, err := collect(ctx, tx, scanVersion, `SELECT `+versionColumns+` FROM registry_versions
				WHERE indexed = 0 ORDER BY model, number LIMIT $1`, atOnce)
			if err != nil {
				return err
			}
			n = len(models) + len(versions)
			for _, m := range models {
				if err := turn.indexModel(ctx, m); err != nil {
					return err
				}
			}
			for _, v := range versions {
				if err := turn.indexVersion(ctx, v); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("write what older versions can be found by: %w", err)
		}
		if n == 0 {
			return nil
		}
	}
}
