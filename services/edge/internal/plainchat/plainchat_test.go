package plainchat_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
	"github.com/poterne/poterne/services/edge/internal/plainchat"
)

const (
	hello = `"messages":[{"role":"user","content":"hi"}]`
	// every member that is read, with texts of all sorts.
	full = `{"model":"m@v1","messages":[{"role":"system","content":""},{"content":"a\n\"b\" é 你\t\\","role":"user"},{"role":"assistant","content":"x"},{"role":"developer","content":"d"}],` +
		`"stream":true,"stream_options":{"include_usage":false},"max_tokens":1,"max_completion_tokens":2147483647,"temperature":0.2,"top_p":1,` +
		`"n":3,"seed":-9007199254740993,"presence_penalty":-0.5,"frequency_penalty":0,"user":"u"}`
)

// read reads text, and holds that what is read the codec reads, too, as the same.
func read(t *testing.T, codec *jsoncodec.Codec, text []byte) (alike, ok bool) {
	t.Helper()
	got, want := new(edgev1.CreateChatCompletionRequest), new(edgev1.CreateChatCompletionRequest)
	alike, ok = plainchat.Read(text, got)
	if !ok {
		return false, false
	}
	same, err := codec.UnmarshalAlike(text, want)
	if err != nil {
		t.Fatalf("%q was read, but %v", text, err)
	}
	if !proto.Equal(got, want) {
		t.Fatalf("%q became\n%v\nand not\n%v", text, got, want)
	}
	if alike != same {
		t.Fatalf("%q: alike is %v, to the codec %v", text, alike, same)
	}
	return alike, true
}

func TestPlainChatsAreRead(t *testing.T) {
	codec := jsoncodec.New(jsoncodec.Options{})
	for text, want := range map[string]bool{
		full: true,
		strings.Replace(full, `{"model":`, `{ "model" : `, 1): false,
		full + "\n":                   false,
		`{"model":"m",` + hello + `}`: true,
		`{"model":"m",` + hello + `,"temperature":1.0}`:                                     false,
		`{"model":"m",` + hello + `,"temperature":0.0000001}`:                               false,
		`{"model":"m",` + hello + `,"user":""}`:                                             false,
		`{"model":"m",` + hello + `,"user":"\u0061"}`:                                       false,
		`{"model":"m",` + hello + `,"user":"\ud83d\ude00"}`:                                 false,
		`{"model":"m","messages":[{"role":"user","content":"` + "\u00e9\U0001f600" + `"}]}`: true,
	} {
		if alike, ok := read(t, codec, []byte(text)); !ok || alike != want {
			t.Errorf("%s: read %v, alike %v", text, ok, alike)
		}
	}
}

// What is wrong, or more than a plain chat, is not read.
func TestOthersAreNotRead(t *testing.T) {
	codec := jsoncodec.New(jsoncodec.Options{})
	for _, text := range []string{
		``, ` `, `{}`, `[]`, `null`, `{`, `{"model"`, `{"model":`, `{"model":"m"`, `{"model":"m"}`, `{` + hello + `}`, `{"model":"m","messages":[]}`,
		`{"model":"m",` + hello, `{"model":"m",` + hello + `,}`, `{"model":"m",` + hello + `}}`, `{"model":"m",` + hello + `}{}`, `{"model":"m" ` + hello + `}`,
		`{"model":"m","model":"m",` + hello + `}`, `{"model":"m",` + hello + `,` + hello + `}`, `{"Model":"m",` + hello + `}`, `{"mod\u0065l":"m",` + hello + `}`,
		`{"model":1,` + hello + `}`, `{"model":null,` + hello + `}`, `{"model":"m",` + hello + `,"x":1}`, `{"model":"m",` + hello + `,"tools":[]}`,
		`{"model":"m",` + hello + `,"temperature":null}`, `{"model":"m",` + hello + `,"temperature":"1"}`, `{"model":"m",` + hello + `,"temperature":01}`,
		`{"model":"m",` + hello + `,"temperature":1.}`, `{"model":"m",` + hello + `,"temperature":.5}`, `{"model":"m",` + hello + `,"temperature":-}`,
		`{"model":"m",` + hello + `,"temperature":+1}`, `{"model":"m",` + hello + `,"temperature":1e0}`, `{"model":"m",` + hello + `,"max_tokens":1.0}`,
		`{"model":"m",` + hello + `,"max_tokens":2147483648}`, `{"model":"m",` + hello + `,"seed":-0}`, `{"model":"m",` + hello + `,"seed":9223372036854775808}`,
		`{"model":"m",` + hello + `,"stream":tru}`, `{"model":"m",` + hello + `,"stream":trueish}`, `{"model":"m",` + hello + `,"stream_options":{}}`,
		`{"model":"m",` + hello + `,"stream_options":{"include_usage":true,"x":1}}`, `{"model":"m",` + hello + `,"stream_options":null}`,
		`{"model":"m","messages":{"role":"user","content":"hi"}}`, `{"model":"m","messages":[{"role":"user"}]}`, `{"model":"m","messages":[{"content":"a"}]}`,
		`{"model":"m","messages":[{"role":"tool","content":"a"}]}`, `{"model":"m","messages":[{"role":"user","content":null}]}`,
		`{"model":"m","messages":[{"role":"user","content":[]}]}`, `{"model":"m","messages":[{"role":"user","content":"a","name":"n"}]}`,
		`{"model":"m","messages":[{"role":"user","role":"user","content":"a"}]}`, `{"model":"m","messages":[{"role":"user","content":"a"},]}`,
		`{"model":"m","messages":[{"role":"user","content":"a"}{"role":"user","content":"a"}]}`, `{"model":"m","messages":["a"]}`, `{"model":"m","messages":[null]}`,
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\nb\"}]}", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}",
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\x00\"}]}", "\xef\xbb\xbf{\"model\":\"m\"," + hello + `}`,
		`{"model":"m","messages":[{"role":"user","content":"\ud800"}]}`, `{"model":"m","messages":[{"role":"user","content":"\x"}]}`,
		`{"model":"m","messages":[{"role":"user","content":"\"}]}`, `{"model":"m","messages":[{"role":"user","content":"a`,
		`{"model":"m","messages":[` + strings.Repeat(`{"role":"user","content":"a"},`, 4096) + `{"role":"user","content":"a"}]}`,
	} {
		if _, ok := read(t, codec, []byte(text)); ok {
			t.Errorf("%.200s was read", text)
		}
	}
}

// FuzzRead holds that what is read is what the codec reads, also of whether it is alike.
func FuzzRead(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(`{"model":"m",` + hello + `,"temperature":-0.10,"n":12 }`))
	f.Add([]byte(`{"model":"\/","user":"\b\f","messages":[{"content":"\\\\\"","role":"user"}],"top_p":0.30000000000000004}`))
	codec := jsoncodec.New(jsoncodec.Options{})
	f.Fuzz(func(t *testing.T, text []byte) { read(t, codec, text) })
}

// Each message costs two allocations: itself and its text.
func TestReadingAllocatesLittle(t *testing.T) {
	text := []byte(`{"model":"m","messages":[{"role":"system","content":"a"},{"role":"user","content":"b"}],"max_tokens":1,"temperature":0.2}`)
	if n := testing.AllocsPerRun(100, func() { plainchat.Read(text, new(edgev1.CreateChatCompletionRequest)) }); n > 9 {
		t.Errorf("%.0f allocations", n)
	}
}

func BenchmarkRead(b *testing.B) {
	text := []byte(`{"model":"sim-chat","messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"What is a postern, and who was let in by it?"}],"max_tokens":16,"temperature":0.2}`)
	codec := jsoncodec.New(jsoncodec.Options{})
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			plainchat.Read(text, new(edgev1.CreateChatCompletionRequest))
		}
	})
	b.Run("codec", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = codec.Unmarshal(text, new(edgev1.CreateChatCompletionRequest))
		}
	})
}
