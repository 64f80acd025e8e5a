package admin

import (
	"crypto/sha256"
	"encoding/hex"

	"google.golang.org/protobuf/proto"
)

const etagBytes = 16

// etag names the state that a message, without its etag, is of. It is made of what
// the caller sees: the store's revision counts the changes of all tenants, and
// would tell each how much the others change.
func etag(m proto.Message) string {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return "" // which no caller can give: texts that are not UTF-8 are not kept
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:etagBytes])
}
