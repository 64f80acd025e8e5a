package serving

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"slices"

	"github.com/poterne/poterne/pkg/identity"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// key is what a remembered answer is for. Two requests have one key only when nothing
// differs that the answer may rest on.
type key struct {
	tenant, model string
	caller, chat  bool // whether the caller, and whether a prompt, counts
	// more is the digest of the prompt, and of the subject where the answer is for that;
	// zero when there is neither.
	more [sha256.Size]byte
}

// ofModel is the key of what rests on the model, the tenant and the prompt alone.
func ofModel(caller *identity.Caller, known bool, req *inferencev1.ResolveServingRequest) key {
	k := key{tenant: caller.Tenant, model: req.GetModel(), caller: known, chat: req.GetChat()}
	if req.GetPrompt() != nil {
		d := digest{Hash: sha256.New()}
		d.list("prompt")
		d.prompt(req.GetPrompt())
		d.Sum(k.more[:0])
	}
	return k
}

// ofSubject is the key of what rests on who asks, too.
func ofSubject(caller *identity.Caller, known bool, req *inferencev1.ResolveServingRequest) key {
	k := key{tenant: caller.Tenant, model: req.GetModel(), caller: known, chat: req.GetChat()}
	d := digest{Hash: sha256.New()}
	d.list("subject", caller.Subject, req.GetRoutingKey(), req.GetSessionId())
	d.list(caller.Roles...)
	headers := req.GetExperimentHeaders()
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		d.list(name, headers[name])
	}
	if req.GetPrompt() != nil {
		d.list("prompt")
		d.prompt(req.GetPrompt())
	}
	d.Sum(k.more[:0])
	return k
}

// digest is of lists of texts, of which none can run into the next.
type digest struct {
	hash.Hash
	n [8]byte
}

func (d *digest) list(texts ...string) {
	d.number(len(texts))
	for _, s := range texts {
		d.number(len(s))
		d.Write([]byte(s))
	}
}

func (d *digest) number(n int) {
	binary.BigEndian.PutUint64(d.n[:], uint64(n))
	d.Write(d.n[:])
}

// prompt takes in which prompt it is, and the names of its variables: one that the
// prompt does not have is an error, and the values do not count.
func (d *digest) prompt(p *inferencev1.Prompt) {
	d.list(p.GetId(), p.GetVersion())
	d.list(slices.Sorted(maps.Keys(p.GetVariables()))...)
}
