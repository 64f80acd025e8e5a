package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func (a *app) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup COLLECTION FILE",
		Short: "Write everything in a collection to a file, whoever may read it; - for standard output",
		Args:  exactArgs("COLLECTION", "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if args[1] == "-" {
				return c.backup(cmd.Context(), args[0], a.streams.Out)
			}
			return a.backupToFile(cmd.Context(), c, args[0], args[1])
		},
	}
}

// backupToFile writes beside the file, and takes its place once all is there.
func (a *app) backupToFile(ctx context.Context, c *client, collection, path string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*")
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	err = c.backup(ctx, collection, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func (a *app) restoreCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "restore COLLECTION FILE",
		Short: "Make a collection of a backup; - for standard input",
		Args:  exactArgs("COLLECTION", "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := a.streams.In
			if args[1] != "-" {
				f, err := os.Open(args[1])
				if err != nil {
					return fmt.Errorf("restore: %w", err)
				}
				defer f.Close()
				in = f
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			out, err := c.restore(cmd.Context(), args[0], in)
			if err != nil {
				return err
			}
			return a.print(out, collectionColumns())
		},
	}
}

// errNotWhole says that what came is not all of a backup.
var errNotWhole = errors.New("the backup is not whole: its hash is not that of what came")

// backup writes a backup to w, and fails when its hash is wrong.
func (c *client) backup(ctx context.Context, collection string, w io.Writer) error {
	resp, err := c.send(ctx, http.MethodGet, joinPath(collectionsPath, collection)+":backup", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sum := &trailer{hash: sha256.New()}
	if _, err := io.Copy(io.MultiWriter(w, sum), resp.Body); err != nil {
		return fmt.Errorf("the backup is not whole: %w", err)
	}
	if !sum.right() {
		return errNotWhole
	}
	return nil
}

// trailer hashes what it is given but for the hash at its end.
type trailer struct {
	hash hash.Hash
	last []byte // what may be the hash
}

func (t *trailer) Write(b []byte) (int, error) {
	t.last = append(t.last, b...)
	if n := len(t.last) - sha256.Size; n > 0 {
		t.hash.Write(t.last[:n])
		t.last = append(t.last[:0], t.last[n:]...)
	}
	return len(b), nil
}

func (t *trailer) right() bool { return bytes.Equal(t.last, t.hash.Sum(nil)) }

func (c *client) restore(ctx context.Context, collection string, in io.Reader) (out map[string]any, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		c.base.String()+collectionsPath+":restore?collection="+url.QueryEscape(collection), io.NopCloser(in))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/octet-stream")
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
