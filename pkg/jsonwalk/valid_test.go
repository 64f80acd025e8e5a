package jsonwalk

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// answer is one as engines write it.
const answer = `{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m","choices":[{"index":0,` +
	`"message":{"role":"assistant","content":"Hello, how are you today? \"Fine\",\nI am told.","refusal":null},"finish_reason":"stop"}],` +
	`"usage":{"prompt_tokens":9,"completion_tokens":16,"total_tokens":25,"prompt_tokens_details":{"cached_tokens":0}}}`

func texts() []string {
	var many strings.Builder
	for i := range 2 * maxNames {
		many.WriteString(`"` + strings.Repeat("n", i) + `":1,`)
	}
	return []string{
		"", " ", `{}`, ` {"a":[1,2.5e-7,null,true,false,"x"]} `, `{"a":1,"a":2}`, `{"a":1,}`, `{"a"}`, `{} {}`, `[1,]`, `01`, `-`, `1.`, `1e`, `.5`,
		`"\ud800"`, `"\ud800\ud800"`, `"\x"`, `"\u12"`, "\"\xff\"", "\"a\nb\"", "\"\x7f\"", "\xef\xbb\xbf{}", `nul`, `"`, "{\"\xff\":1}", `1 2`, "[1\x00]",
		strings.Repeat("[", 9999) + strings.Repeat("]", 9999), strings.Repeat("[", 10000) + strings.Repeat("]", 10000),
		strings.Repeat("[", 10001) + strings.Repeat("]", 10001), strings.Repeat(`{"a":`, 10001) + "1" + strings.Repeat("}", 10001),
		`"\ud83d\ude00"`, `"\uD83D"`, `"\u00e4 ä \/"`, `"ä`, "\"\xc3\"", "\"\xed\xa0\x80\"", `"\`, `"a\"`, `{"a":1,"\u0061":2}`, `{"ä":1,"ä":2}`, `{"ab":1,"ba":2,"":3,"":4}`,
		`{"":1}`, `-0`, `-01`, `0e0`, `1E+9`, `1e-`, `1.5.5`, `[1 2]`, `{"a" 1}`, `{"a":1 "b":2}`, `{,}`, `[,1]`, `[`, `{`, `{"a":`, `tru`, `truex`, `[true`, `"1234567\"`,
		`"12345678"`, "\"1234567\x01\"", "\"12345678\x1f\"", `"1234567\n12345678"`, `"12345678` + "\x80" + `"`, answer, answer + "}", answer[:len(answer)-1],
		`{` + strings.TrimSuffix(many.String(), ",") + `}`, `{` + many.String() + `"":1}`, `{` + many.String()[:40] + `"n":1,"n":2}`,
	}
}

func FuzzValid(f *testing.F) {
	for _, text := range texts() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, want := Valid(text), json.Valid(text); got != want {
			t.Errorf("%.100q: %v, want %v", text, got, want)
		}
	})
}

func FuzzStrict(f *testing.F) {
	for _, text := range texts() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, want := Strict(text), jsontext.Value(text).IsValid(); got != want {
			t.Errorf("%.100q: %v, want %v", text, got, want)
		}
	})
}

// Texts in which chance has changed, left out or put in a few bytes are as valid as ever.
func TestChangedTexts(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	const bytes = "{}[]\",:\\ue0d8cEa1-+. \n\x01\x1f\x7f\xc3\xa4\xe2\x82\xed\xa0\xff"
	var short []string
	for _, text := range texts() {
		if len(text) < 1000 {
			short = append(short, text)
		}
	}
	known := 0
	for range 300_000 {
		text := []byte(short[chance.IntN(len(short))])
		for range chance.IntN(4) {
			at, c := chance.IntN(len(text)+1), bytes[chance.IntN(len(bytes))]
			switch end := min(at+chance.IntN(3), len(text)); chance.IntN(3) {
			case 0:
				text = slices.Insert(text, at, c)
			case 1:
				text = slices.Replace(text, at, end, c)
			default:
				text = slices.Delete(text, at, end)
			}
		}
		if plain(text) {
			known++
		}
		if got, want := Valid(text), json.Valid(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
		if got, want := Strict(text), jsontext.Value(text).IsValid(); got != want {
			t.Errorf("%q: strictly %v, want %v", text, got, want)
		}
	}
	if known < 20_000 {
		t.Errorf("%d texts are known", known)
	}
}

// What is asked for and answered most is known at once.
func TestOrdinaryTextsAreKnown(t *testing.T) {
	for _, text := range []string{
		answer, " " + strings.ReplaceAll(answer, ",", " , ") + "\n", strings.Replace(answer, "Hello", "Grüße, 日本 \\u00e9", 1),
		`{"a":[1,-2.5e-7,0.5,1E+9,null,true,false,"x",[],{}]}`, `{"ab":1,"ba":2,"a":3,"b":4,"":5}`,
	} {
		if !plain([]byte(text)) {
			t.Errorf("%s is not known", text)
		}
	}
}

func BenchmarkStrict(b *testing.B) {
	text := []byte(answer)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if !Strict(text) {
			b.Fatal("not valid")
		}
	}
}

func BenchmarkStrictBefore(b *testing.B) {
	text := []byte(answer)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if !jsontext.Value(text).IsValid() {
			b.Fatal("not valid")
		}
	}
}
