// Package mlflow reads an MLflow tracking server by its REST API: registered
// models, their versions, the runs that made them, and artifacts that the server
// hands out itself. It writes nothing. Start reading at New.
package mlflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/plainhttp"
)

const (
	apiPath   = "/api/2.0/mlflow/"
	maxAnswer = 16 << 20
	// pageSize is what every MLflow since 2.0 gives at once.
	pageSize = "100"
	// maxPages bounds a server that never comes to an end.
	maxPages = 100_000
	timeout  = time.Minute
)

// Credentials are those of MLflow's own clients: a token, or a name and a
// password.
type Credentials struct{ Token, Username, Password string }

// Client reads one server. It is safe for concurrent use.
type Client struct {
	base  *url.URL
	creds Credentials
	http  *http.Client
}

// New returns a client of the server at uri.
func New(uri string, creds Credentials) (*Client, error) {
	u, err := url.Parse(strings.TrimRight(uri, "/"))
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the tracking URI must be http://host:port or https://host")
	}
	if u.User != nil {
		return nil, errors.New("the tracking URI must not hold credentials: set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD")
	}
	return &Client{base: u, creds: creds, http: &http.Client{Transport: plainhttp.Transport(nil)}}, nil
}

// Tag is a key with its value, of whatever length the server keeps.
type Tag struct{ Key, Value string }

// Alias names a version.
type Alias struct{ Alias, Version string }

// Model is a registered model.
type Model struct {
	Name, Description string
	Tags              []Tag
	Aliases           []Alias
}

// Version is a model version.
type Version struct {
	Name, Version, Description string
	Source                     string
	RunID                      string `json:"run_id"`
	Stage                      string `json:"current_stage"`
	Status                     string
	Tags                       []Tag
}

// Run is what is read of a run.
type Run struct {
	Metrics []struct {
		Key string
		// Value is a number, or a text such as NaN.
		Value any
	}
	Params []Tag
}

// Models hands over every registered model, page by page.
func (c *Client) Models(ctx context.Context, each func(Model) error) error {
	return pages(ctx, c, "registered-models/search", url.Values{"max_results": {pageSize}}, "registered_models", each)
}

// Versions hands over every version of a model, in the server's order.
func (c *Client) Versions(ctx context.Context, model string, each func(Version) error) error {
	quote := "'"
	if strings.Contains(model, quote) {
		quote = `"`
	}
	query := url.Values{"max_results": {pageSize}, "filter": {"name=" + quote + model + quote}}
	return pages(ctx, c, "model-versions/search", query, "model_versions", each)
}

// ArtifactURI says where the files of a version are.
func (c *Client) ArtifactURI(ctx context.Context, model, version string) (string, error) {
	var out struct {
		URI string `json:"artifact_uri"`
	}
	err := c.get(ctx, apiPath+"model-versions/get-download-uri", url.Values{"name": {model}, "version": {version}}, &out)
	return out.URI, err
}

// Run returns a run's metrics and parameters.
func (c *Client) Run(ctx context.Context, id string) (Run, error) {
	var out struct{ Run struct{ Data Run } }
	err := c.get(ctx, apiPath+"runs/get", url.Values{"run_id": {id}}, &out)
	return out.Run.Data, err
}

// RunURI is where a run can be read.
func (c *Client) RunURI(id string) string {
	u := *c.base
	u.Path += apiPath + "runs/get"
	u.RawQuery = url.Values{"run_id": {id}}.Encode()
	return u.String()
}

func pages[T any](ctx context.Context, c *Client, path string, query url.Values, field string, each func(T) error) error {
	for range maxPages {
		var page map[string]json.RawMessage
		if err := c.get(ctx, apiPath+path, query, &page); err != nil {
			return err
		}
		var items []T
		if raw, ok := page[field]; ok {
			if err := json.Unmarshal(raw, &items); err != nil {
				return fmt.Errorf("mlflow: %s: %s: %w", path, field, err)
			}
		}
		for _, item := range items {
			if err := each(item); err != nil {
				return err
			}
		}
		var token string
		if raw, ok := page["next_page_token"]; ok {
			_ = json.Unmarshal(raw, &token) // one that is no text ends the list
		}
		if token == "" {
			return nil
		}
		if token == query.Get("page_token") {
			return fmt.Errorf("mlflow: %s: the page after this one is this one", path)
		}
		query.Set("page_token", token)
	}
	return fmt.Errorf("mlflow: %s: more than %d pages", path, maxPages)
}

func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, err := c.open(ctx, path, query)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("mlflow: %s: %w", path, err)
	}
	if len(raw) > maxAnswer {
		return fmt.Errorf("mlflow: %s: the answer is larger than %d bytes", path, maxAnswer)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("mlflow: %s: the answer is not what MLflow gives: %w", path, err)
	}
	return nil
}

// open asks for a path, and returns the body of a good answer.
func (c *Client) open(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("mlflow: %s: %w", path, err)
	}
	switch {
	case c.creds.Token != "":
		req.Header.Set("Authorization", "Bearer "+c.creds.Token)
	case c.creds.Username != "":
		req.SetBasicAuth(c.creds.Username, c.creds.Password)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the MLflow at %s cannot be reached: %w", c.base.Host, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer func() { _ = resp.Body.Close() }()
	var known struct {
		Code    string `json:"error_code"`
		Message string `json:"message"`
	}
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	_ = json.Unmarshal(raw, &known) // what is not MLflow's shape has its status alone
	return nil, &Error{Status: resp.StatusCode, Code: known.Code, Message: known.Message, path: path}
}

// Error is an error that the server answered.
type Error struct {
	Status        int
	Code, Message string
	path          string
}

func (e *Error) Error() string {
	return fmt.Sprintf("mlflow: %s: HTTP %d %s %s", e.path, e.Status, e.Code, e.Message)
}
