// Package scenario holds what the platform must do, whichever way it runs: the
// same functions are run against the all-in-one and against the deployment of
// separate processes. Start reading at Target.
package scenario

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// CallTimeout bounds one call: real engines are slow on busy machines.
const CallTimeout = 3 * time.Minute

// Target is a running platform.
type Target struct {
	// URL is where REST is, for example http://127.0.0.1:8080.
	URL string
	// OpsURL is where metrics and profiles are, where that is one place.
	OpsURL string
	// GRPCAddr is where the edge's gRPC is.
	GRPCAddr string
	// AdminKey is the bootstrap key.
	AdminKey string
	// ChatModel and EmbeddingModel are the names of registered models.
	ChatModel, EmbeddingModel string
	// Dimensions is the length of EmbeddingModel's vectors.
	Dimensions int
}

// Answer is an HTTP answer, read whole.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON decodes the answer into a tree.
func (a Answer) JSON(tb testing.TB) map[string]any {
	tb.Helper()
	var v map[string]any
	if err := json.Unmarshal(a.Body, &v); err != nil {
		tb.Fatalf("the answer is not a JSON object: %v: %s", err, a.Body)
	}
	return v
}

// Path goes into a tree of objects and arrays.
func Path(v any, steps ...any) any {
	for _, step := range steps {
		switch s := step.(type) {
		case string:
			object, _ := v.(map[string]any)
			v = object[s]
		case int:
			list, _ := v.([]any)
			if s >= len(list) {
				return nil
			}
			v = list[s]
		}
	}
	return v
}

// Do sends body (bytes as they are, anything else as JSON) with key.
func (g Target) Do(ctx context.Context, method, path, key string, body any) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	resp, err := g.open(ctx, method, path, key, body)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: raw}, err
}

func (g Target) open(ctx context.Context, method, path, key string, body any) (*http.Response, error) {
	var reader io.Reader = http.NoBody
	switch b := body.(type) {
	case nil:
	case []byte:
		reader = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, g.URL+path, reader)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	return http.DefaultClient.Do(req)
}

// Call is Do with the admin key; it fails the test unless the status is want.
func (g Target) Call(tb testing.TB, method, path string, body any, want int) Answer {
	tb.Helper()
	return g.CallAs(tb, g.AdminKey, method, path, body, want)
}

// CallAs is Call with another key.
func (g Target) CallAs(tb testing.TB, key, method, path string, body any, want int) Answer {
	tb.Helper()
	a, err := g.Do(tb.Context(), method, path, key, body)
	if err != nil {
		tb.Fatalf("%s %s: %v", method, path, err)
	}
	if a.Status != want {
		tb.Fatalf("%s %s: HTTP %d, want %d: %s", method, path, a.Status, want, a.Body)
	}
	return a
}

// Stream is what came of a streamed call.
type Stream struct {
	Status int
	Header http.Header
	// Chunks are the data of the events before the end.
	Chunks []string
	// Done says that `[DONE]` came.
	Done bool
	// Error is the error event's or the refusal's body.
	Error string
	// FirstAfter and EndAfter are since the request was sent.
	FirstAfter, EndAfter time.Duration
	// Broken is the transport's error, when the connection ended early.
	Broken error
}

// Stream sends a streamed call and reads it to its end. each, unless nil, is
// told every chunk as it comes.
func (g Target) Stream(ctx context.Context, path, key string, body any, each func(chunk string)) Stream {
	began := time.Now()
	resp, err := g.open(ctx, http.MethodPost, path, key, body)
	if err != nil {
		return Stream{Broken: err, EndAfter: time.Since(began)}
	}
	defer resp.Body.Close()
	s := Stream{Status: resp.StatusCode, Header: resp.Header}
	if resp.StatusCode != http.StatusOK {
		raw, err := io.ReadAll(resp.Body)
		s.Error, s.Broken, s.EndAfter = string(raw), err, time.Since(began)
		return s
	}
	s.read(resp.Body, began, each)
	s.EndAfter = time.Since(began)
	return s
}

func (s *Stream) read(r io.Reader, began time.Time, each func(string)) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 4<<20)
	for scanner.Scan() {
		data, ok := strings.CutPrefix(scanner.Text(), "data: ")
		if !ok {
			continue
		}
		switch {
		case data == "[DONE]":
			s.Done = true
			continue
		case strings.HasPrefix(data, `{"error"`):
			s.Error = data
			continue
		}
		if len(s.Chunks) == 0 {
			s.FirstAfter = time.Since(began)
		}
		s.Chunks = append(s.Chunks, data)
		if each != nil {
			each(data)
		}
	}
	s.Broken = scanner.Err()
	if s.Broken == nil && !s.Done && s.Error == "" {
		s.Broken = errors.New("the stream ended without [DONE] and without an error event")
	}
}

// Text puts the chunks' content together.
func (s Stream) Text() (string, error) {
	var text strings.Builder
	for _, c := range s.Chunks {
		var v any
		if err := json.Unmarshal([]byte(c), &v); err != nil {
			return "", fmt.Errorf("chunk %q: %w", c, err)
		}
		if content, ok := Path(v, "choices", 0, "delta", "content").(string); ok {
			text.WriteString(content)
		}
	}
	return text.String(), nil
}

// User is a conversation of one message.
func User(text string) []any {
	return []any{map[string]any{"role": "user", "content": text}}
}
