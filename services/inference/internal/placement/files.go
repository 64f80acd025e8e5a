package placement

import (
	"encoding/binary"
	"encoding/hex"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// Files names the files that a specification needs as workers name those they
// have (WorkerState.artifacts); without those whose content it does not name.
func Files(spec *commonv1.ModelSpec) []uint64 {
	var out []uint64
	for _, a := range spec.GetArtifacts() {
		if sum, err := hex.DecodeString(a.GetSha256()); err == nil && len(sum) >= 8 {
			out = append(out, binary.BigEndian.Uint64(sum))
		}
	}
	return out
}
