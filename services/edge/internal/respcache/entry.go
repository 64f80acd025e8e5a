package respcache

import (
	"encoding/binary"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// Entry is an answer as the engine gave it, before anything was made of it for its
// caller: ids, what detectors take out and what a stream's options leave out are
// each caller's own. It is not changed once it is kept.
type Entry struct {
	// By is who answered.
	By *inferencev1.ServedBy
	// Streamed says that Chunks are those of a stream; else there is one, the whole
	// answer.
	Streamed bool
	Chunks   [][]byte
	// Usage is the tokens that were used, or nil.
	Usage *commonv1.TokenUsage
	// Annotations are what the answer rests on.
	Annotations []*edgev1.Annotation
	// Made is when it was; it is fresh for TTL, and may be given for Stale longer.
	Made       time.Time
	TTL, Stale time.Duration

	// other is the answer in the other form, once somebody wanted that.
	other atomic.Pointer[[][]byte]
}

// Form returns the chunks of a stream, or the whole answer as the only one. convert
// makes the other form of what is kept; false: there is none that is exact.
func (e *Entry) Form(streamed bool, convert func(chunks [][]byte) ([][]byte, bool)) ([][]byte, bool) {
	if e.Streamed == streamed {
		return e.Chunks, true
	}
	if made := e.other.Load(); made != nil {
		return *made, true
	}
	made, ok := convert(e.Chunks)
	if ok {
		e.other.Store(&made)
	}
	return made, ok
}

// Age is how old the answer is.
func (e *Entry) Age(now time.Time) time.Duration { return max(now.Sub(e.Made), 0) }

// perChunk is what a chunk, and perEntry what an entry takes in memory besides its
// bytes.
const (
	perChunk = 24
	perEntry = 512
)

// Size is what the entry takes in memory, in bytes: at most, once it has its other
// form.
func (e *Entry) Size() int {
	n := perEntry + proto.Size(e.By) + proto.Size(e.Usage)
	for _, c := range e.Chunks {
		n += 2*len(c) + perChunk
	}
	for _, a := range e.Annotations {
		n += proto.Size(a) + perEntry/4
	}
	return n
}

// form begins every encoding, and changes with it.
const form = 1

// maxParts bounds the parts of an encoding.
const maxParts = 1 << 20

// encode writes an entry: the form, whether it is a stream, three times in
// milliseconds, and then each part with its length before it.
func (e *Entry) encode() ([]byte, error) {
	out := make([]byte, 0, e.Size())
	streamed := byte(0)
	if e.Streamed {
		streamed = 1
	}
	out = append(out, form, streamed)
	for _, n := range []int64{e.Made.UnixMilli(), e.TTL.Milliseconds(), e.Stale.Milliseconds()} {
		out = binary.AppendVarint(out, n)
	}
	messages := []proto.Message{e.By, e.Usage}
	for _, a := range e.Annotations {
		messages = append(messages, a)
	}
	usage := byte(0)
	if e.Usage != nil {
		usage = 1
	}
	out = append(out, usage)
	out = binary.AppendUvarint(out, uint64(len(e.Annotations)))
	for _, m := range messages {
		data, err := proto.Marshal(m)
		if err != nil {
			return nil, err
		}
		out = appendPart(out, data)
	}
	for _, c := range e.Chunks {
		out = appendPart(out, c)
	}
	return out, nil
}

func appendPart(out, part []byte) []byte {
	return append(binary.AppendUvarint(out, uint64(len(part))), part...)
}

var errDamaged = errors.New("respcache: what is kept is damaged")

// reader reads what encode wrote.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if r.bad = r.bad || n <= 0; r.bad {
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if r.bad = r.bad || n <= 0; r.bad {
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) part() []byte {
	n := r.uvarint()
	if r.bad = r.bad || n > uint64(len(r.rest)); r.bad {
		return nil
	}
	out := r.rest[:n:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) message(m proto.Message) {
	if part := r.part(); !r.bad {
		r.bad = proto.Unmarshal(part, m) != nil
	}
}

func (r *reader) milliseconds() time.Duration {
	n := r.varint()
	if n < 0 || n > math.MaxInt64/int64(time.Millisecond) {
		r.bad = true
		return 0
	}
	return time.Duration(n) * time.Millisecond
}

// decode reads an entry, which keeps data.
func decode(data []byte) (*Entry, error) {
	r := &reader{rest: data}
	if r.byte() != form {
		return nil, errDamaged
	}
	e := &Entry{Streamed: r.byte() == 1, By: new(inferencev1.ServedBy)}
	e.Made = time.UnixMilli(r.varint())
	e.TTL, e.Stale = r.milliseconds(), r.milliseconds()
	usage := r.byte() == 1
	annotations := r.uvarint()
	if r.bad || annotations > maxParts {
		return nil, errDamaged
	}
	r.message(e.By)
	counted := new(commonv1.TokenUsage)
	if r.message(counted); usage {
		e.Usage = counted
	}
	for range annotations {
		if r.bad {
			return nil, errDamaged
		}
		a := new(edgev1.Annotation)
		r.message(a)
		e.Annotations = append(e.Annotations, a)
	}
	for len(r.rest) > 0 && !r.bad {
		e.Chunks = append(e.Chunks, r.part())
	}
	if r.bad || len(e.Chunks) > maxParts || !e.Streamed && len(e.Chunks) != 1 {
		return nil, errDamaged
	}
	return e, nil
}
