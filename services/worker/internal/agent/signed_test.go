package agent

import (
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
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
	request := func(over string) *workerv1.LoadModelRequest {
		return &workerv1.LoadModelRequest{Digest: digest("a"), Signatures: []*workerv1.DigestSignature{
			{KeyId: signing.KeyID(signing.Public(key)), Signature: signing.Sign(key, over)},
		}}
	}
	a := &Agent{parts: Parts{Trust: trust}}
	if err := a.checkSigned(request(digest("a"))); err != nil {
		t.Errorf("a signed version: %v", err)
	}
	for name, req := range map[string]*workerv1.LoadModelRequest{
		"unsigned": {Digest: digest("a")}, "of another digest": request(digest("b")),
	} {
		if err := a.checkSigned(req); apierr.ReasonOf(err) != apierr.FailedPrecondition {
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
