package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/pkg/clock"
)

func isSHA256(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == sha256.Size && s == hex.EncodeToString(raw)
}

func (a *app) artifactsUploadCommand() *cobra.Command {
	var resume bool
	cmd := &cobra.Command{
		Use:   "upload FILE",
		Short: "Upload a file; what the registry has already is not sent",
		Long: `Uploads a file in parts, each with its hash, and goes on by itself where a
connection was lost. With --resume it goes on with an upload of the same file
that was broken off before.`,
		Example: `  poterne artifacts upload ./SmolLM2-135M-Instruct.Q4_1.gguf
  poterne models register smollm2 --artifact registry://sha256/b179… --alias production`,
		Args: exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("upload: %w", err)
			}
			defer f.Close()
			u := &uploading{client: c, file: f, progress: a.newProgress(), clock: a.clock, pause: importPause}
			artifact, err := u.run(cmd.Context(), resume)
			u.progress.end()
			if err != nil {
				return err
			}
			return a.print(artifact, columns("URI uri", "SIZE size_bytes", "NAME name"))
		},
	}
	cmd.Flags().BoolVar(&resume, "resume", false, "go on with an upload of this file that was broken off")
	return cmd
}

// uploading is one file on its way.
type uploading struct {
	client   *client
	file     *os.File
	progress *progress
	clock    clock.Clock
	pause    time.Duration

	size int64
	sum  string
}

// run uploads the file and returns the artifact.
func (u *uploading) run(ctx context.Context, resume bool) (map[string]any, error) {
	if err := u.hash(ctx); err != nil {
		return nil, err
	}
	location := ""
	if resume {
		open, err := u.client.pages(ctx, uploadsPath, url.Values{"sha256": {u.sum}}, "uploads", 1)
		if err != nil {
			return nil, err
		}
		if len(open) > 0 {
			location = joinPath(uploadsPath, fmt.Sprint(lookup(open[0], "id")))
		}
	}
	if location == "" {
		var err error
		if location, err = u.create(ctx); err != nil {
			return nil, err
		}
	}
	if location != "" {
		if err := u.send(ctx, location); err != nil {
			return nil, err
		}
	}
	var artifact map[string]any
	err := u.client.call(ctx, http.MethodGet, joinPath(artifactsPath, u.sum), nil, &artifact)
	return artifact, err
}

func (u *uploading) hash(ctx context.Context) error {
	info, err := u.file.Stat()
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return usagef("%s is not a file with content", u.file.Name())
	}
	u.size = info.Size()
	sum := sha256.New()
	room := make([]byte, 1<<20)
	for done := int64(0); done < u.size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := u.file.ReadAt(room[:min(int64(len(room)), u.size-done)], done)
		if err != nil && !errors.Is(err, io.EOF) || n == 0 {
			return fmt.Errorf("upload: %s cannot be read to its end: %w", u.file.Name(), err)
		}
		sum.Write(room[:n])
		done += int64(n)
		u.progress.show("hashing", float64(done)*100/float64(u.size))
	}
	u.sum = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// create begins an upload and returns where it is; nowhere if the registry has
// the file.
func (u *uploading) create(ctx context.Context) (string, error) {
	text := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	resp, err := u.tus(ctx, http.MethodPost, uploadsPath, http.Header{
		"Upload-Length":   {strconv.FormatInt(u.size, 10)},
		"Upload-Metadata": {"filename " + text(filepath.Base(u.file.Name())) + ",sha256 " + text(u.sum)},
	}, nil)
	var known *apiError
	if errors.As(err, &known) && known.Code == "ALREADY_EXISTS" {
		u.progress.line("the registry has this file already")
		return "", nil
	}
	if err != nil {
		return "", err
	}
	location, err := url.Parse(resp.Get("Location"))
	if err != nil || location.Path == "" {
		return "", errors.New("the gateway does not say where the upload is")
	}
	return location.EscapedPath(), nil
}

// sendBytes is how much is sent at a time: no more than any registry takes with a
// hash.
const sendBytes = 5 << 20

// send sends what is missing, and tries again, from where the registry got to,
// what may pass.
func (u *uploading) send(ctx context.Context, location string) error {
	pause, tries := u.pause, 0
	offset := int64(-1)
	for {
		before := offset
		err := u.connection(ctx, location, &offset)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if offset > before {
			pause, tries = u.pause, 0
		}
		if tries++; tries == importTries || !worthSending(err) {
			return fmt.Errorf("%w; to go on: poterne artifacts upload --resume %s", err, u.file.Name())
		}
		u.progress.line(fmt.Sprintf("at byte %d: %v; trying again", max(offset, 0), err))
		if e, ok := errors.AsType[*apiError](err); ok && e.RetryAfter > 0 {
			pause = max(pause, e.RetryAfter)
		}
		if err := clock.Sleep(ctx, u.clock, pause); err != nil {
			return err
		}
		pause = min(2*pause, importMaxPause)
	}
}

func worthSending(err error) bool {
	e, ok := errors.AsType[*apiError](err)
	return worthAnotherTry(err) && (!ok || e.Status != http.StatusInsufficientStorage) || ok && e.Status == http.StatusConflict
}

// connection asks where to go on, and sends the rest.
func (u *uploading) connection(ctx context.Context, location string, offset *int64) error {
	head, err := u.tus(ctx, http.MethodHead, location, nil, nil)
	for err == nil {
		if *offset, err = strconv.ParseInt(head.Get("Upload-Offset"), 10, 64); err != nil {
			return errors.New("the gateway does not say how far the upload is")
		}
		u.progress.show("sending", float64(*offset)*100/float64(u.size))
		if *offset >= u.size {
			return u.complete(ctx, location)
		}
		part := make([]byte, min(sendBytes, u.size-*offset))
		if _, err := u.file.ReadAt(part, *offset); err != nil {
			return fmt.Errorf("%w: %w", errImportInput, err)
		}
		sum := sha256.Sum256(part)
		head, err = u.tus(ctx, http.MethodPatch, location, http.Header{
			"Upload-Offset":   {strconv.FormatInt(*offset, 10)},
			"Upload-Checksum": {"sha256 " + base64.StdEncoding.EncodeToString(sum[:])},
			"Content-Type":    {"application/offset+octet-stream"},
		}, part)
	}
	return err
}

// complete asks for what the last byte has begun, and waits for it.
func (u *uploading) complete(ctx context.Context, location string) error {
	return u.client.call(ctx, http.MethodPost, location+":complete", map[string]any{"sha256": u.sum}, nil)
}

// tus makes a request of the protocol and returns the header of its answer.
func (u *uploading) tus(ctx context.Context, method, path string, header http.Header, body []byte) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, max(u.client.timeout, 2*time.Minute))
	defer cancel()
	var in io.Reader
	if body != nil {
		in = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.client.base.String()+path, in)
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header
	}
	req.Header.Set("Authorization", "Bearer "+u.client.key)
	req.Header.Set("Tus-Resumable", "1.0.0")
	resp, err := u.client.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the gateway at %s cannot be reached: %w", u.client.base, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return nil, decodeError(resp)
	}
	return resp.Header, nil
}
