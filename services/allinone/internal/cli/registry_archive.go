package cli

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/poterne/poterne/services/allinone/internal/archive"
)

const archivePath = "/v1/registry/archive"

// eachArtifact calls fn with every artifact below v.
func eachArtifact(v any, fn func(map[string]any) error) error {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if err := eachArtifact(item, fn); err != nil {
				return err
			}
		}
	case map[string]any:
		if _, ok := v["uri"].(string); ok && v["sha256"] != nil {
			return fn(v)
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if err := eachArtifact(v[key], fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// archiveImport is `registry import FILE`.
type archiveImport struct {
	conflict, artifactsDir string
	dryRun                 bool
}

func (a *app) importArchive(ctx context.Context, file string, opts archiveImport) error {
	if !slices.Contains([]string{"fail", "skip", "replace"}, opts.conflict) {
		return usagef("--conflict must be fail, skip or replace, got %q", opts.conflict)
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	if in, err := a.plainLines(file); err != nil || in != nil {
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }()
		if opts.artifactsDir != "" {
			return usagef("--artifacts-dir is for a file with artifacts: lines have none")
		}
		return a.importLines(ctx, c, in, nil, opts)
	}
	r, err := archive.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	lines, err := r.Lines()
	if err != nil {
		return err
	}
	if lines != nil {
		defer func() { _ = lines.Close() }()
		places, err := extracted(r, opts)
		if err != nil {
			return err
		}
		return a.importLines(ctx, c, lines, places, opts)
	}
	models, err := r.Models()
	if err != nil {
		return err
	}
	if len(models) == 0 {
		return errors.New("the archive has no models")
	}
	body := map[string]any{"models": models, "conflict": "IMPORT_CONFLICT_" + strings.ToUpper(opts.conflict), "dry_run": opts.dryRun}
	if opts.artifactsDir != "" && !opts.dryRun {
		if body["models"], err = placed(r, models, opts); err != nil {
			return err
		}
	}
	var resp struct{ Outcomes map[string]string }
	if err := c.call(ctx, http.MethodPost, archivePath, body, &resp); err != nil {
		return err
	}
	return a.print(outcomes(nil, "model", resp.Outcomes, opts.dryRun), outcomeColumns())
}

func outcomeColumns() []column { return columns("KIND kind", "NAME name", "OUTCOME outcome") }

// outcomes adds a line to the report for each thing of a kind.
func outcomes(report []any, kind string, of map[string]string, dryRun bool) []any {
	for _, name := range slices.Sorted(maps.Keys(of)) {
		outcome := strings.ToLower(strings.TrimPrefix(of[name], "IMPORT_OUTCOME_"))
		if dryRun && (outcome == outcomeCreated || outcome == "replaced") {
			outcome = "would be " + outcome
		}
		report = append(report, map[string]any{"kind": kind, "name": name, "outcome": outcome})
	}
	return report
}

// extracted writes the archive's artifacts where they are wanted, and returns where
// each is.
func extracted(r *archive.Reader, opts archiveImport) (map[string]string, error) {
	if opts.artifactsDir == "" || opts.dryRun {
		return nil, nil
	}
	dir, err := filepath.Abs(opts.artifactsDir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	return r.Extract(dir)
}

// placeArtifacts has every artifact below v that is in places be named there. Where a
// file lies is no part of a digest.
func placeArtifacts(v any, places map[string]string) error {
	return eachArtifact(v, func(a map[string]any) error {
		sum, _ := a["sha256"].(string)
		if place := places[sum]; place != "" {
			u := url.URL{Scheme: "file", Path: filepath.ToSlash(place)}
			a["uri"] = u.String()
		}
		return nil
	})
}

// placed has the models of an older file name the archive's artifacts where they were
// written.
func placed(r *archive.Reader, models []json.RawMessage, opts archiveImport) ([]any, error) {
	places, err := extracted(r, opts)
	if err != nil {
		return nil, err
	}
	var out []any
	for _, raw := range models {
		var m map[string]any
		dec := json.NewDecoder(strings.NewReader(string(raw)))
		dec.UseNumber()
		if err := dec.Decode(&m); err != nil {
			return nil, err
		}
		if err := placeArtifacts(m["versions"], places); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}
