package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/plainhttp"
)

const (
	maxAnswerBytes = 64 << 20
	maxEventBytes  = 1 << 20
	maxRetryAfter  = 3600 // seconds
)

// client speaks REST to one gateway.
type client struct {
	base *url.URL
	key  string
	http *http.Client
	// timeout bounds calls that do not stream.
	timeout time.Duration
}

func newClient(base, key string, timeout time.Duration) (*client, error) {
	u, err := url.Parse(strings.TrimSuffix(base, "/"))
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, usagef("the gateway's URL must be http://host:port or https://host:port, got %q", base)
	}
	return &client{base: u, key: key, http: &http.Client{Transport: plainhttp.Transport(nil)}, timeout: timeout}, nil
}

// apiError is an error that the gateway answered.
type apiError struct {
	Status    int
	Code      string
	Message   string
	RequestID string
	// RetryAfter is how long to wait before another try; 0 when nobody said.
	RetryAfter time.Duration
}

func (e *apiError) Error() string {
	return fmt.Sprintf("%s (%s, HTTP %d, request %s)", e.Message, e.Code, e.Status, e.RequestID)
}

// call sends body as JSON, unless it is nil, and decodes the answer into out,
// unless it is nil. path's segments must be escaped already.
func (c *client) call(ctx context.Context, method, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if out == nil || len(raw) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(out); err != nil {
		return fmt.Errorf("%s %s: the answer is not JSON: %w", method, path, err)
	}
	return nil
}

// send returns an answer with a good status; the caller closes its body.
func (c *client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", method, path, err)
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, reader)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the gateway at %s cannot be reached: %w", c.base, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		defer resp.Body.Close()
		return nil, decodeError(resp)
	}
	return resp, nil
}

// decodeError understands OpenAI's error shape and RFC 9457's.
func decodeError(resp *http.Response) error {
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, maxEventBytes))
	e := errorFrom(raw, resp.StatusCode, resp.Header.Get("x-request-id"))
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.RetryAfter = time.Duration(min(seconds, maxRetryAfter)) * time.Second
	}
	return e
}

func errorFrom(raw []byte, status int, requestID string) *apiError {
	var shape struct {
		Error *struct {
			Message string `json:"message"`
			Code    any    `json:"code"`
			Type    string `json:"type"`
		} `json:"error"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   string `json:"code"`
	}
	e := &apiError{Status: status, Code: http.StatusText(status), Message: strings.TrimSpace(string(raw)), RequestID: requestID}
	if json.Unmarshal(raw, &shape) != nil {
		return e
	}
	if shape.Error != nil {
		e.Message = shape.Error.Message
		e.Code = shape.Error.Type
		if code, ok := shape.Error.Code.(string); ok && code != "" {
			e.Code = code
		}
		return e
	}
	e.Message = firstOf(shape.Detail, shape.Title, e.Message)
	e.Code = firstOf(shape.Code, e.Code)
	if status < http.StatusBadRequest && shape.Status > 0 {
		e.Status = shape.Status // of a stream, whose own status was sent long ago
	}
	return e
}

// stream posts body and hands every server-sent event's data to each until
// `[DONE]`. A stream that ends before that, or with an event `error`, is an error.
func (c *client) stream(ctx context.Context, path string, body any, each func(data []byte) error) error {
	resp, err := c.send(ctx, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	scanner := bufio.NewScanner(resp.Body)
	scanner.Buffer(nil, maxEventBytes)
	named := ""
	for scanner.Scan() {
		if name, ok := strings.CutPrefix(scanner.Text(), "event:"); ok {
			named = strings.TrimSpace(name)
			continue
		}
		if len(scanner.Bytes()) == 0 {
			named = "" // the next event has no name yet
			continue
		}
		data, ok := bytes.CutPrefix(scanner.Bytes(), []byte("data:"))
		if !ok {
			continue
		}
		data = bytes.TrimSpace(data)
		if string(data) == "[DONE]" {
			return nil
		}
		if named == "error" || bytes.HasPrefix(data, []byte(`{"error"`)) {
			return errorFrom(data, resp.StatusCode, resp.Header.Get("x-request-id"))
		}
		if err := each(data); err != nil {
			return err
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("the stream broke: %w", err)
	}
	return errors.New("the stream ended before its end was told")
}

// pages calls GET path page after page and gathers the items of field, at most
// limit of them unless it is 0.
func (c *client) pages(ctx context.Context, path string, query url.Values, field string, limit int) ([]any, error) {
	if query == nil {
		query = url.Values{}
	}
	items := []any{}
	token := ""
	for {
		if token != "" {
			query.Set("page_token", token)
		}
		full := path
		if len(query) > 0 {
			full += "?" + query.Encode()
		}
		var page map[string]any
		if err := c.call(ctx, http.MethodGet, full, nil, &page); err != nil {
			return nil, err
		}
		if list, ok := page[field].([]any); ok {
			items = append(items, list...)
		}
		token, _ = page["next_page_token"].(string)
		if token == "" || (limit > 0 && len(items) >= limit) {
			break
		}
	}
	if limit > 0 && len(items) > limit {
		items = items[:limit]
	}
	return items, nil
}
