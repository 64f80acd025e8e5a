package callwire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
	"testing/quick"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/quietconn"
)

func reader(src io.Reader) *quietconn.Reader {
	return quietconn.NewReader(src, nil, newLent().ahead)
}

// anyMetadata is metadata that may travel, of what chance gave.
func anyMetadata(given map[string][]string) metadata.MD {
	var md metadata.MD
	for name, values := range given {
		name = "x" + string(bytes.ToLower([]byte(name)))
		if len(values) > 0 && name == string(bytes.ToLower([]byte(name))) {
			if md == nil {
				md = metadata.MD{}
			}
			md[name] = values
		}
	}
	return md
}

func TestHeadsComeBackAsTheyWere(t *testing.T) {
	few := &quick.Config{MaxCount: 10} // each has many names
	call := func(method string, timeout uint32, given map[string][]string) bool {
		h := callHead{method: "/" + method, timeout: time.Duration(timeout), metadata: anyMetadata(given)}
		b := h.append(nil)
		got, err := parseCallHead(b)
		return err == nil && reflect.DeepEqual(got, h) && len(b) <= h.atMost()
	}
	if err := quick.Check(call, few); err != nil {
		t.Error(err)
	}
	answer := func(status []byte, header, trailer map[string][]string) bool {
		h := answerHead{status: status, header: anyMetadata(header), trailer: anyMetadata(trailer)}
		got, err := parseAnswerHead(h.append(nil))
		return err == nil && bytes.Equal(got.status, h.status) && reflect.DeepEqual(got.header, h.header) && reflect.DeepEqual(got.trailer, h.trailer)
	}
	if err := quick.Check(answer, few); err != nil {
		t.Error(err)
	}
}

func TestHeadsThatAreNotTaken(t *testing.T) {
	good := callHead{method: "/a.B/C", metadata: metadata.MD{"k": {"v"}}}.append(nil)
	for name, b := range map[string][]byte{
		"nothing":            nil,
		"cut off":            good[:len(good)-1],
		"more than there is": append(bytes.Clone(good), 0),
		"no method":          callHead{method: "a.B/C"}.append(nil),
		"many pairs":         append(callHead{method: "/a.B/C"}.append(nil)[:8], 0xff, 0xff, 0xff, 0xff, 0x0f),
		"a reserved name":    append(callHead{method: "/a.B/C"}.append(nil)[:8], append([]byte{1, 12}, "grpc-timeout\x00"...)...),
		"a large name":       append(callHead{method: "/a.B/C"}.append(nil)[:8], append([]byte{1, 1}, "K\x00"...)...),
	} {
		if h, err := parseCallHead(b); err == nil {
			t.Errorf("%s: taken as %+v", name, h)
		}
	}
	if h, err := parseCallHead(callHead{method: "/a", metadata: metadata.MD{":path": {"x"}, "grpc-x": {"y"}}}.append(nil)); err != nil || h.metadata != nil {
		t.Errorf("names that gRPC keeps for itself left: %+v, %v", h, err)
	}
}

func TestPrefixesAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		p    prefix
		want error
	}{
		"good":               {prefix{kindCall, 10, 100}, nil},
		"as large as may be": {prefix{kindCall, maxHead, 1000}, nil},
		"a large head":       {prefix{kindCall, maxHead + 1, 0}, errTooLarge},
		"a large message":    {prefix{kindCall, 0, 1001}, errTooLarge},
		"another kind":       {prefix{kindAnswer, 0, 0}, errMalformed},
		"the end":            {prefix{kindBye, 0, 0}, nil},
	} {
		var b [prefixBytes]byte
		c.p.put(b[:])
		got, err := readPrefix(reader(bytes.NewReader(b[:])), string(kindCall), 1000)
		if !errors.Is(err, c.want) || got != c.p {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	// What is announced and does not come takes no memory, and is an error.
	err := take(reader(bytes.NewReader(make([]byte, 100))), 1<<30, func([]byte) error { return nil })
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a message that was cut off: %v", err)
	}
}

// FuzzHeads: whatever comes is refused, or comes back the same when it is written again.
func FuzzHeads(f *testing.F) {
	f.Add(callHead{method: "/a.B/C", timeout: time.Second, metadata: metadata.MD{"k": {"v", "w"}, "b-bin": {"\x00\xff"}}}.append(nil))
	f.Add(answerHead{status: []byte("\x08\x05"), header: metadata.MD{"h": {"1"}}}.append(nil))
	f.Add([]byte{2, '/', 'a', 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseCallHead(b); err == nil {
			if again, err := parseCallHead(h.append(nil)); err != nil || !reflect.DeepEqual(again, h) {
				t.Errorf("%+v came back as %+v, %v", h, again, err)
			}
		}
		if h, err := parseAnswerHead(b); err == nil {
			if again, err := parseAnswerHead(h.append(nil)); err != nil || !reflect.DeepEqual(again, h) {
				t.Errorf("%+v came back as %+v, %v", h, again, err)
			}
		}
		r := reader(bytes.NewReader(b))
		if p, err := readPrefix(r, string(kindCall), MaxMessage); err == nil && p.kind == kindCall {
			_ = take(r, p.head, func(b []byte) error { _, err := parseCallHead(b); return err })
			_ = take(r, p.message, func([]byte) error { return nil })
		}
	})
}
