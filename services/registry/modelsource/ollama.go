package modelsource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// The kinds of layers in Ollama's manifests (ollama's server/images.go and
// docs/modelfile).
const (
	ollamaLayer = "application/vnd.ollama.image."
)

// OllamaModel is a model in Ollama's directory.
type OllamaModel struct {
	// Name is Ollama's, such as `llama3.2:1b` or `hf.co/owner/name:Q4_K_M`.
	Name string
	// manifest is its file.
	manifest string
}

// OllamaModels returns the models of a directory with `manifests` and `blobs`, by
// name.
func OllamaModels(ctx context.Context, dir string) ([]OllamaModel, error) {
	root := filepath.Join(dir, "manifests")
	var out []OllamaModel
	err := filepath.WalkDir(root, func(at string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			return err
		}
		rel, err := filepath.Rel(root, at)
		if err != nil {
			return err
		}
		parts := strings.Split(filepath.ToSlash(rel), "/")
		if len(parts) < 3 { // registry, name and tag at least
			return nil
		}
		tag := parts[len(parts)-1]
		name := strings.Join(parts[:len(parts)-1], "/")
		name = strings.TrimPrefix(strings.TrimPrefix(name, "registry.ollama.ai/"), "library/")
		if out = append(out, OllamaModel{Name: name + ":" + tag, manifest: at}); len(out) > MaxFiles {
			return notServed("there are more than %d models", MaxFiles)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no directory of Ollama's: it has no manifests", dir)
	}
	slices.SortFunc(out, func(a, b OllamaModel) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

type ollamaManifest struct {
	Layers []struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int64  `json:"size"`
	} `json:"layers"`
}

// ReadOllama says what a model of Ollama's is. Every blob that becomes an artifact
// is held against its digest.
func ReadOllama(ctx context.Context, dir string, m OllamaModel, opts Options) (*Found, error) {
	raw, err := readSmall(m.manifest)
	if err != nil {
		return nil, err
	}
	var manifest ollamaManifest
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return nil, notServed("its manifest cannot be read: %s", firstLine(err.Error()))
	}
	found := &Found{Spec: &commonv1.ModelSpec{Engine: "llama-server", Task: opts.Task}}
	r := &reader{place: Dir{Path: filepath.Join(dir, "blobs"), Root: dir}, opts: opts}
	for _, layer := range manifest.Layers {
		hexed, ok := strings.CutPrefix(layer.Digest, "sha256:")
		if !ok || named(hexed, 64) == "" {
			return nil, notServed("its manifest names a layer by %q", layer.Digest)
		}
		blob := File{Path: "sha256-" + hexed, Size: layer.Size, SHA256: hexed}
		if err := r.ollamaLayer(ctx, found, strings.TrimPrefix(layer.MediaType, ollamaLayer), blob); err != nil {
			return nil, err
		}
	}
	weights := found.Spec.GetArtifacts()
	if len(weights) == 0 {
		return nil, notServed("it has no layer of weights in one GGUF file")
	}
	return found, r.ggufTask(ctx, File{Path: "sha256-" + weights[0].GetSha256()}, found)
}

func (r *reader) ollamaLayer(ctx context.Context, found *Found, kind string, blob File) error {
	switch kind {
	case "model", "projector":
		role := map[string]string{"model": "weights", "projector": "projector"}[kind]
		a, err := r.artifact(ctx, blob, role)
		if err != nil {
			return err
		}
		if found.Spec.Artifacts = append(found.Spec.Artifacts, a); role == "weights" {
			slices.SortStableFunc(found.Spec.Artifacts, func(a, b *commonv1.Artifact) int { return -strings.Compare(a.GetRole(), b.GetRole()) })
		}
	case "adapter":
		a, err := r.artifact(ctx, blob, "weights")
		if err != nil {
			return err
		}
		found.Spec.Adapters = append(found.Spec.Adapters, &commonv1.Adapter{Artifacts: []*commonv1.Artifact{a}, Scale: 1})
	case "params":
		return r.ollamaParams(ctx, found, blob)
	case "license":
		return r.ollamaLicence(ctx, found, blob)
	case "template":
		found.note("its template is written in Go's language, which llama-server does not read: the one in the GGUF file is used")
	case "system", "messages":
		found.note("its %s has no place in a version: send it with the requests", kind)
	default:
		found.note("its layer %q is not known", kind)
	}
	return nil
}

// ollamaParams takes the context's length; what else there is are defaults of
// requests.
func (r *reader) ollamaParams(ctx context.Context, found *Found, blob File) error {
	raw, err := r.blob(ctx, blob)
	if err != nil {
		return err
	}
	var params map[string]any
	if err := json.Unmarshal(raw, &params); err != nil {
		return notServed("its parameters cannot be read: %s", firstLine(err.Error()))
	}
	var others []string
	for name, value := range params {
		if n, ok := value.(float64); ok && name == "num_ctx" && n >= 1 && n <= 1<<24 {
			found.Spec.ContextLength = int32(n)
			continue
		}
		others = append(others, name)
	}
	if len(others) > 0 {
		slices.Sort(others)
		found.note("its parameters %s are defaults of requests: send them with the requests", strings.Join(others, ", "))
	}
	return nil
}

func (r *reader) ollamaLicence(ctx context.Context, found *Found, blob File) error {
	raw, err := r.blob(ctx, blob)
	if err != nil {
		return err
	}
	line := strings.TrimSpace(firstLine(strings.TrimSpace(string(raw))))
	if found.Licence == "" && line != "" && len(line) <= 128 {
		found.Licence = line
	}
	return nil
}

// blob reads a small blob and holds it against its digest.
func (r *reader) blob(ctx context.Context, blob File) ([]byte, error) {
	if _, err := r.artifact(ctx, blob, ""); err != nil {
		return nil, err
	}
	return r.text(ctx, blob.Path)
}

func readSmall(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxText {
		return nil, notServed("%s is larger than %d bytes", name, maxText)
	}
	return os.ReadFile(name)
}
