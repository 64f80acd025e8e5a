package api

import (
	"hash/maphash"

	"google.golang.org/protobuf/proto"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// printInvoke stands for a tenant's request to an engine: the same version,
// operation and body have the same one, in this process. Tenants are apart, so
// that one cannot have another's refused.
func (s *Server) printInvoke(tenant string, ask *workerv1.InvokeRequest) func() uint64 {
	return func() uint64 {
		var h maphash.Hash
		h.SetSeed(s.seed)
		_, _ = h.WriteString(tenant)
		_ = h.WriteByte(0)
		_, _ = h.WriteString(ask.GetDigest())
		_ = h.WriteByte(byte(ask.GetOperation()))
		_, _ = h.Write(ask.GetBody())
		return h.Sum64()
	}
}

// printMessage does the same for texts to embed or to score, and for tensors.
func (s *Server) printMessage(tenant string, ask proto.Message) func() uint64 {
	return func() uint64 {
		// What cannot be written has no print of its own, and so shares one.
		data, _ := proto.MarshalOptions{Deterministic: true}.Marshal(ask)
		return maphash.Bytes(s.seed, append(data, tenant...))
	}
}
