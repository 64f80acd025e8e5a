package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/services/allinone/internal/archive"
)

const archivePath = "/v1/registry/archive"

func (a *app) registryExportCommand() *cobra.Command {
	var artifacts bool
	cmd := &cobra.Command{
		Use: "export FILE", Short: "Write models, versions, variants, aliases and splits into one archive", Args: exactArgs("FILE"),
		Long: `Writes everything in the registry into one file, of one moment. What is deleted and
not gone for good is left out. With --artifacts the files that lie on this machine come
along, each held against its SHA-256.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			models, revision, err := exported(cmd.Context(), c)
			if err != nil {
				return err
			}
			skipped := 0
			err = archive.Write(args[0], a.clock.Now(), revision, func(w *archive.Writer) error {
				for _, m := range models {
					if err := w.Model(nameOfArchived(m), m); err != nil {
						return err
					}
				}
				if !artifacts {
					return nil
				}
				skipped, err = addArtifacts(w, models)
				return err
			})
			if err != nil {
				return err
			}
			return a.print(map[string]any{"file": args[0], "models": len(models), "revision": revision, "artifacts_elsewhere": skipped},
				columns("FILE file", "MODELS models", "REVISION revision", "ARTIFACTS-ELSEWHERE artifacts_elsewhere"))
		},
	}
	cmd.Flags().BoolVar(&artifacts, "artifacts", false, "take the files along that lie on this machine")
	return cmd
}

// maxExportTries bounds how often an export begins anew because somebody changed
// the registry meanwhile.
const maxExportTries = 5

// exported reads everything, of one revision.
func exported(ctx context.Context, c *client) ([]map[string]any, int64, error) {
	for range maxExportTries {
		models, revision, steady, err := exportOnce(ctx, c)
		if err != nil || steady {
			return models, revision, err
		}
	}
	return nil, 0, fmt.Errorf("the registry changed while it was read, %d times: try again when it is quieter", maxExportTries)
}

func exportOnce(ctx context.Context, c *client) (models []map[string]any, revision int64, steady bool, err error) {
	token := ""
	for first := true; ; first = false {
		var page struct {
			Models        []map[string]any
			NextPageToken string `json:"next_page_token"`
			Revision      json.Number
		}
		path := archivePath
		if token != "" {
			path += "?" + url.Values{"page_token": {token}}.Encode()
		}
		if err := c.call(ctx, http.MethodGet, path, nil, &page); err != nil {
			return nil, 0, false, err
		}
		now, err := page.Revision.Int64()
		if err != nil {
			return nil, 0, false, fmt.Errorf("the answer has no revision: %w", err)
		}
		if !first && now != revision {
			return nil, 0, false, nil
		}
		revision = now
		for _, m := range page.Models {
			if n := len(models); n > 0 && nameOfArchived(models[n-1]) == nameOfArchived(m) {
				more, _ := m["versions"].([]any)
				there, _ := models[n-1]["versions"].([]any)
				models[n-1]["versions"] = append(there, more...)
				continue
			}
			models = append(models, m)
		}
		if token = page.NextPageToken; token == "" {
			return models, revision, true, nil
		}
	}
}

func nameOfArchived(m map[string]any) string {
	model, _ := m["model"].(map[string]any)
	name, _ := model["name"].(string)
	return name
}

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

// addArtifacts takes along what lies here, and returns how many do not.
func addArtifacts(w *archive.Writer, models []map[string]any) (elsewhere int, err error) {
	for _, m := range models {
		err := eachArtifact(m["versions"], func(a map[string]any) error {
			uri, _ := a["uri"].(string)
			sum, _ := a["sha256"].(string)
			u, err := url.Parse(uri)
			if err != nil || u.Scheme != "file" {
				elsewhere++
				return nil
			}
			f, err := os.Open(filepath.FromSlash(u.Path))
			if errors.Is(err, os.ErrNotExist) {
				elsewhere++
				return nil
			}
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			if err := w.Artifact(sum, f); err != nil {
				return fmt.Errorf("%s: %w", u.Path, err)
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return elsewhere, nil
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
	r, err := archive.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	models, err := r.Models()
	if err != nil {
		return err
	}
	if len(models) == 0 {
		return errors.New("the archive has no models")
	}
	body := map[string]any{"models": models, "conflict": "IMPORT_CONFLICT_" + strings.ToUpper(opts.conflict), "dry_run": opts.dryRun}
	if opts.artifactsDir != "" && !opts.dryRun {
		if body["models"], err = placed(r, models, opts.artifactsDir); err != nil {
			return err
		}
	}
	var resp struct{ Outcomes map[string]string }
	if err := c.call(ctx, http.MethodPost, archivePath, body, &resp); err != nil {
		return err
	}
	report := []any{}
	for _, name := range slices.Sorted(maps.Keys(resp.Outcomes)) {
		outcome := strings.ToLower(strings.TrimPrefix(resp.Outcomes[name], "IMPORT_OUTCOME_"))
		if opts.dryRun && (outcome == outcomeCreated || outcome == "replaced") {
			outcome = "would be " + outcome
		}
		report = append(report, map[string]any{"model": name, "outcome": outcome})
	}
	return a.print(report, columns("MODEL model", "OUTCOME outcome"))
}

// placed writes the archive's artifacts into a directory and has the models name
// them there. Where a file lies is no part of a digest.
func placed(r *archive.Reader, models []json.RawMessage, dir string) ([]any, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	places, err := r.Extract(dir)
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
		err := eachArtifact(m["versions"], func(a map[string]any) error {
			sum, _ := a["sha256"].(string)
			if place := places[sum]; place != "" {
				u := url.URL{Scheme: "file", Path: filepath.ToSlash(place)}
				a["uri"] = u.String()
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}
