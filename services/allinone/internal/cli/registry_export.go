package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/services/allinone/internal/archive"
)

func (a *app) registryExportCommand() *cobra.Command {
	var artifacts bool
	cmd := &cobra.Command{
		Use: "export FILE", Short: "Write everything in the registry into one archive", Args: exactArgs("FILE"),
		Long: `Writes everything in the registry into one file, of one moment: models with their
versions, variants, aliases, splits, experiments, rollouts, histories and protections,
prompts, and webhooks without their secrets. What is deleted and not gone for good is
left out, and so is what requests came to. With --artifacts the files that lie on this
machine come along, each held against its SHA-256. - writes the registry's lines alone
to standard output.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if args[0] == "-" {
				if artifacts {
					return usagef("--artifacts needs a file")
				}
				_, err := c.exportTo(cmd.Context(), a.streams.Out)
				return err
			}
			return a.exportFile(cmd.Context(), c, args[0], artifacts)
		},
	}
	cmd.Flags().BoolVar(&artifacts, "artifacts", false, "take the files along that lie on this machine")
	return cmd
}

// exportTo writes the registry's lines to out, and fails when they are not whole.
func (c *client) exportTo(ctx context.Context, out io.Writer) (*archiveSummary, error) {
	resp, err := c.send(ctx, http.MethodGet, archivePath+":export", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return readArchive(io.TeeReader(resp.Body, out), nil)
}

func (a *app) exportFile(ctx context.Context, c *client, path string, artifacts bool) (err error) {
	lines, err := os.CreateTemp(filepath.Dir(path), ".archive-*")
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer func() { err = errors.Join(err, lines.Close(), os.Remove(lines.Name())) }()
	summary, err := c.exportTo(ctx, lines)
	if err != nil {
		return err
	}
	elsewhere := 0
	err = archive.Write(path, a.clock.Now(), summary.revision, func(w *archive.Writer) error {
		if _, err := lines.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if err := w.Lines(lines); err != nil || !artifacts {
			return err
		}
		if _, err := lines.Seek(0, io.SeekStart); err != nil {
			return err
		}
		_, err := readArchive(lines, func(_ []byte, kind string, record any) error {
			if kind != "version" {
				return nil
			}
			n, err := addArtifacts(w, record)
			elsewhere += n
			return err
		})
		return err
	})
	if err != nil {
		return err
	}
	row := map[string]any{"file": path, "revision": summary.revision, "artifacts_elsewhere": elsewhere}
	for kind, name := range map[string]string{
		"model": "models", "version": "versions", "experiment": "experiments", "rollout": "rollouts", "prompt": "prompts", "webhook": "webhooks",
	} {
		row[name] = summary.records[kind]
	}
	return a.print(row, columns("FILE file", "MODELS models", "VERSIONS versions", "EXPERIMENTS experiments", "ROLLOUTS rollouts",
		"PROMPTS prompts", "WEBHOOKS webhooks", "REVISION revision", "ARTIFACTS-ELSEWHERE artifacts_elsewhere"))
}

// addArtifacts takes along what lies here, and returns how many do not.
func addArtifacts(w *archive.Writer, version any) (elsewhere int, err error) {
	err = eachArtifact(version, func(a map[string]any) error {
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
	return elsewhere, err
}

// importLines sends an archive's lines, with the artifacts named where they are now.
func (a *app) importLines(ctx context.Context, c *client, in io.Reader, places map[string]string, opts archiveImport) error {
	if len(places) > 0 {
		placed, send := io.Pipe()
		go func(from io.Reader) { _ = send.CloseWithError(replaced(send, from, places)) }(in)
		defer func() { _ = placed.Close() }()
		in = placed
	}
	query := url.Values{"conflict": {opts.conflict}}
	if opts.dryRun {
		query.Set("dry_run", "true")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.String()+archivePath+":import?"+query.Encode(), io.NopCloser(in))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("the gateway at %s cannot be reached, or the archive cannot be read: %w", c.base, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return decodeError(resp)
	}
	var answer struct{ Models, Prompts, Webhooks map[string]string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswerBytes)).Decode(&answer); err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	report := outcomes([]any{}, "model", answer.Models, opts.dryRun)
	report = outcomes(report, "prompt", answer.Prompts, opts.dryRun)
	report = outcomes(report, "webhook", answer.Webhooks, opts.dryRun)
	return a.print(report, outcomeColumns())
}
