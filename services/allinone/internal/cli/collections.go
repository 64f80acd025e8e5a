package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"

	"github.com/spf13/cobra"
)

const (
	collectionsPath   = "/v1/collections"
	upsertBatch       = 100
	upsertBatchBytes  = 2 << 20
	maxUpsertFileSize = 256 << 20
)

func (a *app) collectionsCommand() *cobra.Command {
	var embeddingModel, metric string
	var own legs
	create := &cobra.Command{
		Use: "create COLLECTION", Short: "Create a collection", Args: exactArgs("COLLECTION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			body := map[string]any{"id": args[0], "embedding_model": embeddingModel}
			if metric != "" {
				body["vector_metric"] = metric
			}
			if err := own.into(body); err != nil {
				return err
			}
			if err := c.call(cmd.Context(), http.MethodPost, collectionsPath, body, &out); err != nil {
				return err
			}
			return a.print(out, collectionColumns())
		},
	}
	create.Flags().StringVar(&embeddingModel, "embedding-model", "", "the model whose vectors it is searched by; empty for the default")
	create.Flags().StringVar(&metric, "vector-metric", "", "what makes vectors near: cosine (the default), dot or l2")
	own.bind(create.Flags(), "the service's way")
	list := &cobra.Command{
		Use: "list", Short: "List the tenant's collections", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), collectionsPath, nil, "collections", 0)
			if err != nil {
				return err
			}
			return a.print(items, collectionColumns())
		},
	}
	remove := &cobra.Command{
		Use: "delete COLLECTION", Short: "Delete a collection with its documents", Args: exactArgs("COLLECTION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodDelete, joinPath(collectionsPath, args[0]), nil, nil)
		},
	}
	return group("collections", "Collections of documents", create, list, remove, a.importCommand(), a.backupCommand(), a.restoreCommand())
}

func collectionColumns() []column {
	return columns("COLLECTION id", "DOCUMENTS document_count", "CHUNKS chunk_count", "EMBEDDING embedding_model", "GENERATION generation")
}

func (a *app) documentsCommand() *cobra.Command {
	upsert := &cobra.Command{
		Use:   "upsert COLLECTION FILE",
		Short: "Write documents from a file: a JSON array, or one JSON object a line; - for standard input",
		Args:  exactArgs("COLLECTION", "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			documents, err := a.readDocuments(args[1])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.upsert(cmd, c, args[0], documents)
		},
	}
	list := &cobra.Command{
		Use: "list COLLECTION", Short: "List the documents that you may read", Args: exactArgs("COLLECTION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), joinPath(collectionsPath, args[0], "documents"), nil, "documents", 0)
			if err != nil {
				return err
			}
			return a.print(items, columns("DOCUMENT id", "TITLE title", "UPDATED update_time", "READERS acl.principals"))
		},
	}
	get := &cobra.Command{
		Use: "get COLLECTION DOCUMENT", Short: "Show a document", Args: exactArgs("COLLECTION", "DOCUMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, joinPath(collectionsPath, args[0], "documents", args[1]), nil, &out); err != nil {
				return err
			}
			return a.print(out, columns("DOCUMENT id", "TITLE title", "TEXT text"))
		},
	}
	remove := &cobra.Command{
		Use: "delete COLLECTION DOCUMENT", Short: "Delete a document", Args: exactArgs("COLLECTION", "DOCUMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodDelete, joinPath(collectionsPath, args[0], "documents", args[1]), nil, nil)
		},
	}
	return group("documents", "Documents of a collection", upsert, list, get, remove)
}

// readDocuments reads a JSON array, or JSON objects one after another.
func (a *app) readDocuments(path string) ([]json.RawMessage, error) {
	in := a.streams.In
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("documents: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxUpsertFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("documents: %w", err)
	}
	if len(raw) > maxUpsertFileSize {
		return nil, usagef("%s is over %d MiB: write it in parts", path, maxUpsertFileSize>>20)
	}
	var documents []json.RawMessage
	if trimmed := bytes.TrimSpace(raw); len(trimmed) > 0 && trimmed[0] == '[' {
		if err := json.Unmarshal(trimmed, &documents); err != nil {
			return nil, usagef("%s: %w", path, err)
		}
		return documents, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	for {
		var d json.RawMessage
		if err := dec.Decode(&d); errors.Is(err, io.EOF) {
			return documents, nil
		} else if err != nil {
			return nil, usagef("%s: document %d: %w", path, len(documents)+1, err)
		}
		documents = append(documents, d)
	}
}

// upsert writes in batches; documents that fail are printed, and make the verb
// fail after all the others were written.
func (a *app) upsert(cmd *cobra.Command, c *client, collection string, documents []json.RawMessage) error {
	if len(documents) == 0 {
		return usagef("there are no documents to write")
	}
	var results []any
	failed := 0
	err := c.writeDocuments(cmd.Context(), collection, documents, upsertBatch, once, func(list []any) {
		results = append(results, list...)
		for _, r := range list {
			if lookup(r, "status") == "failed" {
				failed++
			}
		}
	})
	if err != nil {
		return err
	}
	if err := a.print(results, columns("DOCUMENT id", "STATUS status", "CHUNKS chunk_count", "ERROR error.message")); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d documents failed", failed, len(documents))
	}
	return nil
}

// writeDocuments writes at most size documents at a time, each run by way of
// call, and hands its results to done. It ends when all can be found.
func (c *client) writeDocuments(ctx context.Context, collection string, documents []json.RawMessage, size int,
	call func(context.Context, func() error) error, done func(results []any),
) error {
	written := 0
	for batch := range batches(documents, size) {
		var out map[string]any
		body := map[string]any{"documents": batch, "refresh": "wait"}
		err := call(ctx, func() error {
			return c.call(ctx, http.MethodPost, joinPath(collectionsPath, collection, "documents")+":batchUpsert", body, &out)
		})
		if err != nil {
			return fmt.Errorf("%d of %d documents were written: %w", written, len(documents), err)
		}
		written += len(batch)
		list, _ := out["results"].([]any)
		done(list)
	}
	return nil
}

// once makes a call that is not made again.
func once(_ context.Context, call func() error) error { return call() }

// batches cuts documents into runs of at most most that stay under the gateway's
// limits.
func batches(documents []json.RawMessage, most int) iter.Seq[[]json.RawMessage] {
	return func(yield func([]json.RawMessage) bool) {
		start, size := 0, 0
		for i, d := range documents {
			if i > start && (i-start == most || size+len(d) > upsertBatchBytes) {
				if !yield(documents[start:i]) {
					return
				}
				start, size = i, 0
			}
			size += len(d)
		}
		if start < len(documents) {
			yield(documents[start:])
		}
	}
}
