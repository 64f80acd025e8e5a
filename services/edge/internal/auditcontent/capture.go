package auditcontent

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
)

// Why a content is missing.
const (
	causeKey   = "key"   // the person's key cannot be had
	causeQueue = "queue" // too much waits to be written
	causeForm  = "form"  // the answer cannot be written
)

// keyWait is how long a person's first answer waits for their key to be stored, when
// the store works.
const keyWait = 100 * time.Millisecond

// capture is the content of one call.
type capture struct {
	keeper          *Keeper
	tenant, subject string
	request         string
	size            int64 // of the whole request
	key             chan keyResult

	mu     sync.Mutex
	answer answer
	sealed bool
}

// Answer implements audit.Content.
func (c *capture) Answer(message any, piece bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.sealed {
		c.answer.add(message, piece)
	}
}

// Seal implements audit.Content.
func (c *capture) Seal(ctx context.Context, rec *audit.Record) *audit.Sealed {
	out, cause := c.seal(rec)
	rec.ContentMissing = out == nil
	if out == nil {
		c.keeper.Metrics.Missing(ctx, cause)
		return nil
	}
	c.keeper.Metrics.Kept(ctx)
	return out
}

func (c *capture) seal(rec *audit.Record) (*audit.Sealed, string) {
	content, err := c.content()
	if err != nil {
		return nil, causeForm
	}
	k := c.await()
	if k.err != nil {
		return nil, causeKey
	}
	rec.Normalise()
	sealed, err := k.key.Seal(k.id, content, rec.ID, rec.Tenant, rec.Subject)
	if err != nil || rec.Tenant != normal(c.tenant) || rec.Subject != normal(c.subject) {
		return nil, causeKey
	}
	if !c.keeper.Room.Hold(len(sealed)) {
		return nil, causeQueue
	}
	rec.Content = sha256.Sum256(sealed)
	return &audit.Sealed{Record: rec.ID, Tenant: rec.Tenant, Subject: rec.Subject, Key: k.id.String(), Time: rec.Time, Data: sealed}, ""
}

// await waits for the key, though not when the store is known to be away.
func (c *capture) await() keyResult {
	select {
	case k := <-c.key:
		return k
	default:
	}
	if c.keeper.away.Load() {
		return keyResult{err: ErrNotFound}
	}
	timer := c.keeper.Clock.NewTimer(keyWait)
	defer timer.Stop()
	select {
	case k := <-c.key:
		return k
	case <-timer.C():
		return keyResult{err: ErrNotFound}
	}
}

// content is what is encrypted: the answer of ReadAuditContent, as far as it is about
// the content.
func (c *capture) content() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sealed = true
	out := &edgev1.ReadAuditContentResponse{
		Request: strings.ToValidUTF8(c.request, "\uFFFD"), RequestBytes: c.size, RequestCut: int64(len(c.request)) < c.size,
	}
	m, streamed := c.answer.message()
	if m == nil {
		return proto.Marshal(out)
	}
	raw, err := c.keeper.Codec.Marshal(m)
	if err != nil {
		return nil, err
	}
	if streamed {
		out.Answer, out.AnswerBytes, out.AnswerCut = string(raw), c.answer.size, c.answer.left == 0 && c.answer.size > int64(c.answer.max)
	} else {
		out.Answer, out.AnswerBytes = cut(string(raw), c.answer.max), int64(len(raw))
		out.AnswerCut = len(out.Answer) < len(raw)
	}
	out.Answer = strings.ToValidUTF8(out.Answer, "\uFFFD")
	return proto.Marshal(out)
}
