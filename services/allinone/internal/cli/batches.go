package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

const (
	filesPath   = "/v1/files"
	batchesPath = "/v1/batches"
)

const batchesLong = `A batch is a file of requests that are answered when there is room, within a day:

  poterne files upload requests.jsonl
  poterne batches create FILE_ID --endpoint /v1/chat/completions --wait
  poterne files content OUTPUT_FILE_ID results.jsonl

Each line of the file is a request of your own:

  {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": …, "messages": […]}}`

func fileColumns() []column {
	return columns("ID id", "NAME filename", "PURPOSE purpose", "BYTES bytes", "SHA256 sha256")
}

func batchColumns() []column {
	return columns("ID id", "STATUS status", "ENDPOINT endpoint", "TOTAL request_counts.total", "COMPLETED request_counts.completed",
		"FAILED request_counts.failed", "OUTPUT output_file_id", "ERRORS error_file_id")
}

func (a *app) filesCommand() *cobra.Command {
	cmd := group("files", "Files of requests for batches, and of their results",
		a.filesUploadCommand(), a.openAIListCommand("files", filesPath, fileColumns), a.openAIGetCommand("FILE", filesPath, fileColumns),
		a.filesContentCommand(), a.filesDeleteCommand())
	cmd.Long = batchesLong
	return cmd
}

func (a *app) batchesCommand() *cobra.Command {
	cmd := group("batches", "Requests that are answered when there is room",
		a.batchesCreateCommand(), a.openAIListCommand("batches", batchesPath, batchColumns), a.openAIGetCommand("BATCH", batchesPath, batchColumns),
		a.batchesWaitCommand(), a.batchesCancelCommand())
	cmd.Long = batchesLong
	return cmd
}

// openAIListCommand lists what is paged as OpenAI does.
func (a *app) openAIListCommand(what, path string, cols func() []column) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List your own " + what + ", the newest first", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.after(cmd.Context(), path, limit)
			if err != nil {
				return err
			}
			return a.print(items, cols())
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "list at most so many; 0 for all")
	return cmd
}

// after gathers items page by page, each after the last one's last id.
func (c *client) after(ctx context.Context, path string, limit int) ([]any, error) {
	items := []any{}
	query := url.Values{"limit": {"100"}}
	for {
		var page struct {
			Data    []any  `json:"data"`
			LastID  string `json:"last_id"`
			HasMore bool   `json:"has_more"`
		}
		if err := c.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		items = append(items, page.Data...)
		switch {
		case limit > 0 && len(items) >= limit:
			return items[:limit], nil
		case !page.HasMore || page.LastID == "":
			return items, nil
		}
		query.Set("after", page.LastID)
	}
}

func (a *app) openAIGetCommand(name, path string, cols func() []column) *cobra.Command {
	return &cobra.Command{
		Use: "get " + name, Short: "Show one", Args: exactArgs(name),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.callAndPrint(cmd.Context(), http.MethodGet, joinPath(path, args[0]), nil, cols)
		},
	}
}

func (a *app) callAndPrint(ctx context.Context, method, path string, body any, cols func() []column) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var out map[string]any
	if err := c.call(ctx, method, path, body, &out); err != nil {
		return err
	}
	return a.print(out, cols())
}

func (a *app) filesUploadCommand() *cobra.Command {
	var expires time.Duration
	cmd := &cobra.Command{
		Use: "upload FILE", Short: "Send a file of requests, one JSON object a line; - for standard input", Args: exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, name := a.streams.In, "stdin.jsonl"
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("upload: %w", err)
				}
				defer f.Close()
				in, name = f, filepath.Base(args[0])
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			out, err := c.uploadFile(cmd.Context(), name, in, expires)
			if err != nil {
				return err
			}
			return a.print(out, fileColumns())
		},
	}
	cmd.Flags().DurationVar(&expires, "expires-after", 0, "how long it is kept, 1h to 720h; 0 for the gateway's rule")
	return cmd
}

// uploadFile sends a form as it is read: the file may be larger than memory.
func (c *client) uploadFile(ctx context.Context, name string, in io.Reader, expires time.Duration) (out map[string]any, err error) {
	r, w := io.Pipe()
	defer r.Close()
	form := multipart.NewWriter(w)
	go func() { w.CloseWithError(writeForm(form, name, in, expires)) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.String()+filesPath, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", form.FormDataContentType())
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the gateway at %s cannot be reached: %w", c.base, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return nil, decodeError(resp)
	}
	dec := json.NewDecoder(io.LimitReader(resp.Body, maxAnswerBytes))
	dec.UseNumber()
	if err := dec.Decode(&out); err != nil {
		return nil, fmt.Errorf("the answer is not JSON: %w", err)
	}
	return out, nil
}

func writeForm(form *multipart.Writer, name string, in io.Reader, expires time.Duration) error {
	err := form.WriteField("purpose", "batch")
	if expires > 0 {
		err = errors.Join(err, form.WriteField("expires_after[anchor]", "created_at"),
			form.WriteField("expires_after[seconds]", strconv.FormatInt(int64(expires/time.Second), 10)))
	}
	if err != nil {
		return err
	}
	part, err := form.CreateFormFile("file", name)
	if err == nil {
		_, err = io.Copy(part, in)
	}
	return errors.Join(err, form.Close())
}

func (a *app) filesContentCommand() *cobra.Command {
	return &cobra.Command{
		Use: "content ID FILE", Short: "Write what is in a file to one here; - for standard output", Args: exactArgs("ID", "FILE"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			c, err := a.client()
			if err != nil {
				return err
			}
			resp, err := c.send(cmd.Context(), http.MethodGet, joinPath(filesPath, args[0])+"/content", nil)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			out := a.streams.Out
			if args[1] != "-" {
				f, err := os.Create(args[1])
				if err != nil {
					return fmt.Errorf("content: %w", err)
				}
				defer func() { err = errors.Join(err, f.Close()) }()
				out = f
			}
			if _, err := io.Copy(out, resp.Body); err != nil {
				return fmt.Errorf("the file is not whole: %w", err)
			}
			return nil
		},
	}
}

func (a *app) filesDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Forget a file", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.callAndPrint(cmd.Context(), http.MethodDelete, joinPath(filesPath, args[0]), nil,
				func() []column { return columns("ID id", "DELETED deleted") })
		},
	}
}
