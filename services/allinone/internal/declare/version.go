package declare

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// version declares a version of a model. Its name is how other documents of the
// same run refer to it; the registry does not keep it. A description is given with
// a version that is made, and not compared with that of one that is there: nothing
// of a version changes.
type version struct {
	Kind        string `yaml:"kind"`
	Model       string `yaml:"model"`
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	Spec        spec   `yaml:"spec"`

	dir string
	// What the registry said, or what was made.
	digest string
	number int
}

type spec struct {
	Task                string            `yaml:"task"`
	Engine              string            `yaml:"engine"`
	Artifacts           []artifact        `yaml:"artifacts"`
	Parameters          map[string]string `yaml:"parameters"`
	ContextLength       int               `yaml:"context_length"`
	EmbeddingDimensions int               `yaml:"embedding_dimensions"`
	Continuation        bool              `yaml:"continuation"`
}

// artifact is a file on this machine, whose SHA-256 is taken, or one elsewhere.
type artifact struct {
	Path      string `yaml:"path"`
	URI       string `yaml:"uri"`
	SHA256    string `yaml:"sha256"`
	SizeBytes int64  `yaml:"size_bytes"`
	Role      string `yaml:"role"`
	Name      string `yaml:"name"`
}

// versionLike are names that a reference takes for a version's number or digest.
var versionLike = regexp.MustCompile(`^(v?[0-9]+|sha256:.*)$`)

func (v *version) id() string {
	if v.Name != "" {
		return "version " + v.Model + "/" + v.Name
	}
	raw, _ := json.Marshal(v.Spec)
	sum := sha256.Sum256(append(raw, v.dir...))
	return "version " + v.Model + "/unnamed-" + hex.EncodeToString(sum[:4])
}

func (v *version) check() string {
	switch {
	case v.Model == "":
		return "a Version needs a model"
	case versionLike.MatchString(v.Name):
		return fmt.Sprintf("the name %q would be taken for a version's number or digest", v.Name)
	case v.Spec.Task == "" || v.Spec.Engine == "":
		return "a Version needs spec.task and spec.engine"
	}
	for i, a := range v.Spec.Artifacts {
		switch {
		case (a.Path == "") == (a.URI == ""):
			return fmt.Sprintf("spec.artifacts[%d] needs either a path or a uri", i)
		case a.URI != "" && a.SHA256 == "":
			return fmt.Sprintf("spec.artifacts[%d] needs the sha256 of what is elsewhere", i)
		}
	}
	return ""
}

// body is the specification as the API takes it.
func (v *version) body() (map[string]any, error) {
	artifacts := make([]any, 0, len(v.Spec.Artifacts))
	for i, a := range v.Spec.Artifacts {
		if err := a.resolve(v.dir); err != nil {
			return nil, fmt.Errorf("spec.artifacts[%d]: %w", i, err)
		}
		one := map[string]any{"uri": a.URI, "sha256": a.SHA256, "size_bytes": a.SizeBytes, "role": a.Role}
		if one["role"] == "" {
			one["role"] = "weights"
		}
		if a.Name != "" {
			one["name"] = a.Name
		}
		artifacts = append(artifacts, one)
	}
	out := map[string]any{
		"task": "TASK_" + strings.ToUpper(v.Spec.Task), "engine": v.Spec.Engine, "artifacts": artifacts,
		"parameters": v.Spec.Parameters, "context_length": v.Spec.ContextLength, "embedding_dimensions": v.Spec.EmbeddingDimensions,
	}
	if v.Spec.Continuation {
		out["continuation"] = true
	}
	return out, nil
}

// resolve takes the SHA-256 and the size of a file on this machine, and holds them
// against what the document says of it.
func (a *artifact) resolve(dir string) error {
	if a.Path == "" {
		return nil
	}
	place := a.Path
	if !filepath.IsAbs(place) {
		place = filepath.Join(dir, place)
	}
	place, err := filepath.Abs(place)
	if err != nil {
		return err
	}
	f, err := os.Open(place)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	found := hex.EncodeToString(sum.Sum(nil))
	if a.SHA256 != "" && a.SHA256 != found {
		return fmt.Errorf("%s has the SHA-256 %s, not %s", place, found, a.SHA256)
	}
	a.URI = (&url.URL{Scheme: "file", Path: filepath.ToSlash(place)}).String()
	a.SHA256, a.SizeBytes = found, size
	return nil
}

// resolved asks the registry once what the specification is, and sets the digest.
func (v *version) resolved(ctx context.Context, p *planner) (map[string]any, error) {
	body, err := v.body()
	if err != nil {
		return nil, err
	}
	var answer struct {
		Digest  string `json:"digest"`
		Version *struct {
			Number int `json:"number"`
		} `json:"version"`
	}
	if err := p.registry.Send(ctx, http.MethodPost, path(v.Model, "versions")+":resolve", map[string]any{"spec": body}, &answer); err != nil {
		return nil, err
	}
	v.digest = answer.Digest
	if answer.Version != nil {
		v.number = answer.Version.Number
	}
	return body, nil
}

func (v *version) plan(ctx context.Context, p *planner) (*Change, error) {
	body, err := v.resolved(ctx, p)
	if err != nil {
		return nil, err
	}
	after := map[string]any{"model": v.Model, "digest": v.digest, "spec": body}
	c := &Change{apply: func(ctx context.Context) error {
		var made struct {
			Number int `json:"number"`
		}
		err := p.registry.Send(ctx, http.MethodPost, path(v.Model, "versions"),
			map[string]any{"spec": body, "description": v.Description}, &made)
		v.number = made.Number
		return err
	}}
	if v.number != 0 {
		return c.both(after, after)
	}
	return c.both(nil, after)
}
