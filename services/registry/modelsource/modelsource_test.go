package modelsource_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/registry/modelsource"
)

func write(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, content := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func sha(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

func gguf(architecture string) string {
	text := func(s string) []byte { return append(binary.LittleEndian.AppendUint64(nil, uint64(len(s))), s...) }
	out := append([]byte("GGUF"), 3, 0, 0, 0)
	out = append(out, make([]byte, 16)...)
	out = append(out, text("general.architecture")...)
	out = binary.LittleEndian.AppendUint32(out, 8)
	return string(append(out, text(architecture)...))
}

func read(t *testing.T, dir string, opts modelsource.Options) (*modelsource.Found, error) {
	t.Helper()
	return modelsource.Read(t.Context(), modelsource.Dir{Path: dir}, opts)
}

const signature = `
signature:
  inputs: '[{"type":"double","name":"a","required":true},{"type":"long","name":"b","required":true}]'
  outputs: '[{"type":"tensor","tensor-spec":{"dtype":"int64","shape":[-1]}}]'
`

func TestMLflowModel(t *testing.T) {
	dir := write(t, t.TempDir(), map[string]string{
		"MLmodel":   "flavors:\n  python_function: {loader_module: mlflow.sklearn}\n  sklearn: {pickled_model: model.pkl}\n" + signature,
		"model.pkl": "weights",
	})
	found, err := read(t, dir, modelsource.Options{})
	if err != nil {
		t.Fatal(err)
	}
	spec := found.Spec
	if spec.GetEngine() != "mlserver" || spec.GetTask() != commonv1.Task_TASK_TENSOR ||
		spec.GetParameters()["inputs"] != "x:FP64[-1,2]" || spec.GetParameters()["outputs"] != "predict:INT64[-1]" {
		t.Errorf("the specification is %v", spec)
	}
	if a := spec.GetArtifacts()[0]; a.GetSha256() != sha("weights") || a.GetSizeBytes() != 7 || a.GetUri() != "file://"+dir+"/model.pkl" {
		t.Errorf("the artifact is %v", a)
	}
	if _, err := read(t, dir, modelsource.Options{MaxBytes: 6}); !errors.Is(err, modelsource.ErrNotServed) {
		t.Errorf("a file over the bound: %v", err)
	}
}

func TestWhatIsNotServedSaysWhy(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		says  string
	}{
		"nothing":            {map[string]string{"a.txt": "a"}, "no MLmodel"},
		"Python of its own":  {map[string]string{"MLmodel": "flavors: {python_function: {}}"}, "Python of its own"},
		"skops":              {map[string]string{"MLmodel": "flavors: {sklearn: {pickled_model: model.skops}}", "model.skops": "x"}, "skops"},
		"a file that lacks":  {map[string]string{"MLmodel": "flavors: {xgboost: {data: model.ubj}}"}, "not there"},
		"rubbish":            {map[string]string{"MLmodel": "flavors: ["}, "cannot be read"},
		"two GGUF files":     {map[string]string{"a.gguf": gguf("llama"), "b.gguf": gguf("llama")}, "a.gguf, b.gguf"},
		"a part that lacks":  {map[string]string{"a-00001-of-00002.gguf": gguf("llama")}, "a-00002-of-00002.gguf"},
		"no GGUF after all":  {map[string]string{"a.gguf": "GG"}, "no GGUF"},
		"a shard that lacks": {map[string]string{"config.json": `{"architectures":["LlamaForCausalLM"]}`, "model-1.safetensors": "w", "model.safetensors.index.json": `{"weight_map":{"a":"model-2.safetensors"}}`}, "model-2.safetensors"},
		"an unknown purpose": {map[string]string{"config.json": `{"architectures":["Odd"]}`, "model.safetensors": "w"}, "--task"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(t, write(t, t.TempDir(), tt.files), modelsource.Options{})
			if !errors.Is(err, modelsource.ErrNotServed) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want one that says %q", err, tt.says)
			}
		})
	}
}

func TestLinksDoNotLeave(t *testing.T) {
	secret := filepath.Join(write(t, t.TempDir(), map[string]string{"secret": "s"}), "secret")
	dir := write(t, t.TempDir(), map[string]string{"a.gguf": gguf("llama")})
	if err := os.Symlink(secret, filepath.Join(dir, "config.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, dir, modelsource.Options{}); !errors.Is(err, modelsource.ErrNotServed) {
		t.Errorf("a link out of the directory: %v", err)
	}
}

// A cache's blobs are named by their hashes: git's for small files, SHA-256 for
// large ones.
func TestHubCache(t *testing.T) {
	cache := t.TempDir()
	repo := filepath.Join(cache, "models--org--tiny")
	const revision = "0123456789012345678901234567890123456789"
	write(t, repo, map[string]string{"refs/main": revision})
	snapshot := filepath.Join(repo, "snapshots", revision)
	if err := os.MkdirAll(snapshot, 0o700); err != nil {
		t.Fatal(err)
	}
	config := `{"architectures":["LlamaForCausalLM"],"max_position_embeddings":2048}`
	link := func(name, blob, content string) {
		t.Helper()
		write(t, repo, map[string]string{"blobs/" + blob: content})
		if err := os.Symlink("../../blobs/"+blob, filepath.Join(snapshot, name)); err != nil {
			t.Fatal(err)
		}
	}
	git := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(config), config))
	link("config.json", hex.EncodeToString(git[:]), config)
	link("model.safetensors", sha("weights"), "weights")
	readme := "---\nlicense: apache-2.0\n---\n# Tiny\n"
	git = sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(readme), readme))
	link("README.md", hex.EncodeToString(git[:]), readme)

	models, err := modelsource.HubModels(cache)
	if err != nil || len(models) != 1 || models[0].Name != "org/tiny" || models[0].Revision != revision {
		t.Fatalf("got %+v, %v", models, err)
	}
	found, err := modelsource.Read(t.Context(), models[0].Dir, modelsource.Options{Engine: "sglang"})
	if err != nil {
		t.Fatal(err)
	}
	if s := found.Spec; s.GetEngine() != "sglang" || s.GetTask() != commonv1.Task_TASK_CHAT || s.GetContextLength() != 2048 ||
		len(s.GetArtifacts()) != 2 || found.Licence != "apache-2.0" {
		t.Errorf("got %v, licence %q", s, found.Licence)
	}
	for _, blob := range []string{sha("weights"), hex.EncodeToString(func() []byte {
		sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(config), config))
		return sum[:]
	}())} {
		at := filepath.Join(repo, "blobs", blob)
		raw, err := os.ReadFile(at)
		if err != nil {
			t.Fatal(err)
		}
		write(t, repo, map[string]string{"blobs/" + blob: strings.Replace(string(raw), "e", "E", 1)})
		if _, err := modelsource.Read(t.Context(), models[0].Dir, modelsource.Options{}); err == nil {
			t.Errorf("a blob that was changed was taken: %s", blob)
		}
		write(t, repo, map[string]string{"blobs/" + blob: string(raw)})
	}
}

func TestOllama(t *testing.T) {
	dir := t.TempDir()
	layers := ""
	layer := func(kind, content string) {
		write(t, dir, map[string]string{"blobs/sha256-" + sha(content): content})
		layers += fmt.Sprintf(`,{"mediaType":"application/vnd.ollama.image.%s","digest":"sha256:%s","size":%d}`, kind, sha(content), len(content))
	}
	weights := gguf("nomic-bert")
	layer("params", `{"num_ctx":512,"stop":["x"]}`)
	layer("projector", "eyes")
	layer("model", weights)
	layer("template", "{{ .Prompt }}")
	layer("license", "Apache License\nVersion 2.0")
	write(t, dir, map[string]string{
		"manifests/registry.ollama.ai/library/nomic/latest": `{"layers":[` + layers[1:] + `]}`,
		"manifests/hf.co/owner/name/Q4_K_M":                 `{"layers":[]}`,
	})
	models, err := modelsource.OllamaModels(t.Context(), dir)
	if err != nil || len(models) != 2 || models[0].Name != "hf.co/owner/name:Q4_K_M" || models[1].Name != "nomic:latest" {
		t.Fatalf("got %v, %v", models, err)
	}
	found, err := modelsource.ReadOllama(t.Context(), dir, models[1], modelsource.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := found.Spec
	if s.GetEngine() != "llama-server" || s.GetTask() != commonv1.Task_TASK_EMBEDDING || s.GetContextLength() != 512 ||
		len(s.GetArtifacts()) != 2 || s.GetArtifacts()[0].GetSha256() != sha(weights) || s.GetArtifacts()[1].GetRole() != "projector" {
		t.Errorf("got %v", s)
	}
	if found.Licence != "Apache License" || len(found.Notes) != 2 {
		t.Errorf("licence %q, notes %q", found.Licence, found.Notes)
	}
	if _, err := modelsource.ReadOllama(t.Context(), dir, models[0], modelsource.Options{}); !errors.Is(err, modelsource.ErrNotServed) {
		t.Errorf("a model without weights: %v", err)
	}
	write(t, dir, map[string]string{"blobs/sha256-" + sha(weights): strings.Replace(weights, "nomic", "Nomic", 1)})
	if _, err := modelsource.ReadOllama(t.Context(), dir, models[1], modelsource.Options{}); !errors.Is(err, modelsource.ErrChanged) {
		t.Errorf("a blob that was changed: %v", err)
	}
}

func FuzzMLmodel(f *testing.F) {
	f.Add("flavors: {sklearn: {pickled_model: model.pkl}}" + signature)
	f.Add("flavors: {transformers: {model_binary: ../..}}")
	f.Fuzz(func(t *testing.T, text string) {
		dir := write(t, t.TempDir(), map[string]string{"MLmodel": text, "model.pkl": "w"})
		found, err := read(t, dir, modelsource.Options{})
		if err == nil && len(found.Spec.GetArtifacts()) == 0 {
			t.Errorf("nothing was read, and nothing said: %v", found)
		}
	})
}
