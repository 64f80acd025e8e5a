package mlflow

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/poterne/poterne/services/registry/modelsource"
)

// artifactsPath is where a server that keeps artifacts hands them out.
const artifactsPath = "/api/2.0/mlflow-artifacts/artifacts"

// maxDepth bounds the directories within directories.
const maxDepth = 32

// Place returns where the artifacts at a URI can be read: a directory of this
// machine, or the server itself. Other stores need credentials of their own, which
// workers have and this program has not: an error wraps
// modelsource.ErrNotServed.
func (c *Client) Place(uri string) (modelsource.Place, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, fmt.Errorf("%w: its source is not a URI", modelsource.ErrNotServed)
	}
	switch u.Scheme {
	case "mlflow-artifacts":
		return &hosted{client: c, root: strings.Trim(u.Path, "/")}, nil
	case "file", "":
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			return nil, fmt.Errorf("%w: its source is a path on some other machine", modelsource.ErrNotServed)
		}
		return modelsource.Dir{Path: filepath.Clean(u.Path)}, nil
	case "http", "https":
		if u.User == nil && u.RawQuery == "" && strings.HasSuffix(u.Path, ".gguf") {
			return &oneFile{client: c, url: u}, nil
		}
		return nil, fmt.Errorf("%w: what lies below an http address cannot be listed", modelsource.ErrNotServed)
	default:
		return nil, fmt.Errorf("%w: its source is in %s, where nothing is read without credentials: "+
			"register it with `models register --artifact sha256:HEX@URI`", modelsource.ErrNotServed, u.Scheme)
	}
}

// hosted are artifacts that the tracking server hands out.
type hosted struct {
	client *Client
	root   string
}

// List implements modelsource.Place.
func (h *hosted) List(ctx context.Context) ([]modelsource.File, error) {
	var out []modelsource.File
	err := h.list(ctx, "", maxDepth, &out)
	return out, err
}

func (h *hosted) list(ctx context.Context, dir string, depth int, out *[]modelsource.File) error {
	if depth == 0 {
		return fmt.Errorf("%w: its directories are more than %d deep", modelsource.ErrNotServed, maxDepth)
	}
	var page struct {
		Files []struct {
			Path  string
			IsDir bool `json:"is_dir"`
			// Numbers of 64 bits are told as texts or as numbers, by version.
			Size json.Number `json:"file_size"`
		}
	}
	if err := h.client.get(ctx, artifactsPath, url.Values{"path": {path.Join(h.root, dir)}}, &page); err != nil {
		return err
	}
	for _, f := range page.Files {
		name := path.Base(f.Path)
		if name == "." || name == ".." || name == "/" {
			continue
		}
		name = path.Join(dir, name)
		if f.IsDir {
			if err := h.list(ctx, name, depth-1, out); err != nil {
				return err
			}
			continue
		}
		if len(*out) == modelsource.MaxFiles {
			return fmt.Errorf("%w: there are more than %d files", modelsource.ErrNotServed, modelsource.MaxFiles)
		}
		size, err := f.Size.Int64()
		if err != nil {
			size = -1
		}
		*out = append(*out, modelsource.File{Path: name, Size: size})
	}
	return nil
}

// Open implements modelsource.Place.
func (h *hosted) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	return h.client.open(ctx, path.Join(artifactsPath, h.root, name), nil)
}

// URI implements modelsource.Place.
func (h *hosted) URI(name string) string {
	return h.client.base.JoinPath(artifactsPath, h.root, name).String()
}

// oneFile is a file at an address. The server's credentials are not sent there.
type oneFile struct {
	client *Client
	url    *url.URL
}

// List implements modelsource.Place.
func (o *oneFile) List(context.Context) ([]modelsource.File, error) {
	return []modelsource.File{{Path: path.Base(o.url.Path), Size: -1}}, nil
}

// Open implements modelsource.Place.
func (o *oneFile) Open(ctx context.Context, _ string) (io.ReadCloser, error) {
	return (&Client{base: &url.URL{Scheme: o.url.Scheme, Host: o.url.Host}, http: o.client.http}).open(ctx, o.url.Path, nil)
}

// URI implements modelsource.Place.
func (o *oneFile) URI(string) string { return o.url.String() }
