package declare

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// spec is what a version or a variant is.
type spec struct {
	Task                string            `yaml:"task" json:"task"`
	Engine              string            `yaml:"engine" json:"engine"`
	Artifacts           []artifact        `yaml:"artifacts,omitempty" json:"artifacts"`
	Parameters          map[string]string `yaml:"parameters,omitempty" json:"parameters"`
	ContextLength       int               `yaml:"context_length,omitempty" json:"context_length"`
	EmbeddingDimensions int               `yaml:"embedding_dimensions,omitempty" json:"embedding_dimensions"`
	Continuation        bool              `yaml:"continuation,omitempty" json:"continuation"`
	PromptTemplate      string            `yaml:"prompt_template,omitempty" json:"prompt_template"`
	Adapters            []adapter         `yaml:"adapters,omitempty" json:"adapters"`
}

// adapter is put over the weights with a scale.
type adapter struct {
	Artifacts []artifact `yaml:"artifacts" json:"artifacts"`
	Scale     float64    `yaml:"scale,omitempty" json:"scale"`
}

// artifact is a file on this machine, whose SHA-256 is taken, or one elsewhere.
type artifact struct {
	Path      string `yaml:"path,omitempty" json:"-"`
	URI       string `yaml:"uri,omitempty" json:"uri"`
	SHA256    string `yaml:"sha256,omitempty" json:"sha256"`
	SizeBytes wide   `yaml:"size_bytes,omitempty" json:"size_bytes"`
	Role      string `yaml:"role,omitempty" json:"role"`
	Name      string `yaml:"name,omitempty" json:"name"`
}

// check says what is wrong with the specification in a field; "" is nothing.
func (s *spec) check(field string) string {
	if s.Task == "" || s.Engine == "" {
		return fmt.Sprintf("needs %s.task and %s.engine", field, field)
	}
	if !oneOf(s.Task, tasks()...) {
		return fmt.Sprintf("%s.task must be %s", field, strings.Join(tasks(), ", "))
	}
	problem := checkArtifacts(field, s.Artifacts)
	for i, a := range s.Adapters {
		if problem == "" {
			problem = checkArtifacts(fmt.Sprintf("%s.adapters[%d]", field, i), a.Artifacts)
		}
	}
	return problem
}

func checkArtifacts(field string, artifacts []artifact) string {
	for i, a := range artifacts {
		switch {
		case (a.Path == "") == (a.URI == ""):
			return fmt.Sprintf("%s.artifacts[%d] needs either a path or a uri", field, i)
		case a.URI != "" && a.SHA256 == "":
			return fmt.Sprintf("%s.artifacts[%d] needs the sha256 of what is elsewhere", field, i)
		}
	}
	return ""
}

// body is the specification as the API takes it. Paths begin at dir.
func (s *spec) body(field, dir string) (map[string]any, error) {
	artifacts, err := artifactsBody(field, dir, s.Artifacts)
	if err != nil {
		return nil, err
	}
	out := map[string]any{
		"task": enum(s.Task, "TASK_"), "engine": s.Engine, "artifacts": artifacts,
		"parameters": s.Parameters, "context_length": s.ContextLength, "embedding_dimensions": s.EmbeddingDimensions,
	}
	if s.Continuation {
		out["continuation"] = true
	}
	if s.PromptTemplate != "" {
		out["prompt_template"] = s.PromptTemplate
	}
	adapters := make([]any, 0, len(s.Adapters))
	for i, a := range s.Adapters {
		files, err := artifactsBody(fmt.Sprintf("%s.adapters[%d]", field, i), dir, a.Artifacts)
		if err != nil {
			return nil, err
		}
		adapters = append(adapters, map[string]any{"artifacts": files, "scale": a.Scale})
	}
	if len(adapters) > 0 {
		out["adapters"] = adapters
	}
	return out, nil
}

func artifactsBody(field, dir string, artifacts []artifact) ([]any, error) {
	out := make([]any, 0, len(artifacts))
	for i := range artifacts {
		a := &artifacts[i]
		if err := a.resolve(dir); err != nil {
			return nil, fmt.Errorf("%s.artifacts[%d]: %w", field, i, err)
		}
		one := map[string]any{"uri": a.URI, "sha256": a.SHA256, "size_bytes": int64(a.SizeBytes), "role": a.Role}
		if one["role"] == "" {
			one["role"] = "weights"
		}
		if a.Name != "" {
			one["name"] = a.Name
		}
		out = append(out, one)
	}
	return out, nil
}

// resolve takes the SHA-256 and the size of a file on this machine, once, and holds
// them against what the document says of it.
func (a *artifact) resolve(dir string) error {
	if a.Path == "" || a.URI != "" {
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
	a.SHA256, a.SizeBytes = found, wide(size)
	return nil
}
