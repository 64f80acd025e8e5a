package agent

import (
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	modeldigest "github.com/poterne/poterne/pkg/digest"
	"github.com/poterne/poterne/pkg/signing"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

func TestOnlyWhatIsSignedIsLoaded(t *testing.T) {
	private, public, err := signing.Generate()
	if err != nil {
		t.Fatal(err)
	}
	key, err := signing.ParsePrivate(private)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := signing.NewPolicy(signing.Config{Required: true, TrustedKeys: []string{public}})
	if err != nil {
		t.Fatal(err)
	}
	sign := func(over string) []*workerv1.DigestSignature {
		return []*workerv1.DigestSignature{{KeyId: signing.KeyID(signing.Public(key)), Signature: signing.Sign(key, over)}}
	}
	request := func(change func(*commonv1.ModelSpec)) *workerv1.LoadModelRequest {
		spec := &commonv1.ModelSpec{
			Task: commonv1.Task_TASK_CHAT, Engine: "llama-server", PromptTemplate: "{{ messages }}",
			Artifacts: []*commonv1.Artifact{{Uri: "file:///a.gguf", Sha256: strings.Repeat("ab", 32), SizeBytes: 7}},
		}
		is, err := modeldigest.Of(spec)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(spec)
		}
		return &workerv1.LoadModelRequest{Digest: is, Spec: spec, Signatures: sign(is)}
	}
	a := &Agent{parts: Parts{Trust: trust}}
	for name, change := range map[string]func(*commonv1.ModelSpec){
		"as it was signed":   nil,
		"from another place": func(s *commonv1.ModelSpec) { s.Artifacts[0].Uri = "https://example.org/b.gguf" },
	} {
		if err := a.checkSigned(request(change)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	unsigned, another := request(nil), request(nil)
	unsigned.Signatures, another.Signatures = nil, sign(digest("b"))
	for name, req := range map[string]*workerv1.LoadModelRequest{"unsigned": unsigned, "of another digest": another} {
		if err := a.checkSigned(req); apierr.ReasonOf(err) != apierr.FailedPrecondition || apierr.From(err).Field != "signatures" {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A signature that holds does not carry over to something else under its digest.
	for name, change := range map[string]func(*commonv1.ModelSpec){
		"other content": func(s *commonv1.ModelSpec) { s.Artifacts[0].Sha256 = strings.Repeat("cd", 32) },
		"another file": func(s *commonv1.ModelSpec) {
			s.Artifacts = append(s.Artifacts, &commonv1.Artifact{Sha256: strings.Repeat("ef", 32)})
		},
		"another engine":    func(s *commonv1.ModelSpec) { s.Engine = "vllm" },
		"a parameter":       func(s *commonv1.ModelSpec) { s.Parameters = map[string]string{"lora": "/tmp/x"} },
		"another template":  func(s *commonv1.ModelSpec) { s.PromptTemplate = "{{ evil }}" },
		"an adapter":        func(s *commonv1.ModelSpec) { s.Adapters = []*commonv1.Adapter{{}} },
		"what is not known": func(s *commonv1.ModelSpec) { s.ProtoReflect().SetUnknown([]byte{0xf8, 0x3f, 0x01}) },
	} {
		err := a.checkSigned(request(change))
		if field := apierr.From(err).Field; apierr.ReasonOf(err) != apierr.FailedPrecondition || field != "digest" && field != "spec" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (&Agent{}).checkSigned(&workerv1.LoadModelRequest{}); err != nil {
		t.Errorf("where nothing is asked for: %v", err)
	}
}

func TestFilesOfAdaptersAreParted(t *testing.T) {
	spec := &commonv1.ModelSpec{
		Artifacts: []*commonv1.Artifact{{}},
		Adapters:  []*commonv1.Adapter{{Artifacts: []*commonv1.Artifact{{}, {}}}, {Artifacts: []*commonv1.Artifact{{}}}},
	}
	files, adapters := partAdapters(spec, []engine.File{{Path: "w"}, {Path: "a"}, {Path: "b"}, {Path: "c"}})
	if len(files) != 1 || files[0].Path != "w" || len(adapters) != 2 || len(adapters[0]) != 2 || adapters[0][1].Path != "b" || adapters[1][0].Path != "c" {
		t.Errorf("parted into %v and %v", files, adapters)
	}
}
