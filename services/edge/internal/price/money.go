// Package price says what work of a model costs: prices by model, version, digest
// or variant, each valid from a time, and the arithmetic, which is in whole
// numbers. It knows no request and no budget. Start reading at Book.
package price

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Micros is an amount of money in millionths of the currency's unit.
type Micros int64

// perPrice is for how many tokens, documents or requests a rate is.
const perPrice = 1_000_000

// String writes the amount in the currency's unit, such as 0.00125.
func (m Micros) String() string {
	sign, n := "", uint64(m)
	if m < 0 {
		sign, n = "-", -n
	}
	whole, part := n/perPrice, n%perPrice
	if part == 0 {
		return sign + strconv.FormatUint(whole, 10)
	}
	return sign + strconv.FormatUint(whole, 10) + "." + strings.TrimRight(fmt.Sprintf("%06d", part), "0")
}

// ParseMicros reads an amount that is not negative in the currency's unit, with at
// most six digits behind the point.
func ParseMicros(s string) (Micros, error) {
	whole, part, _ := strings.Cut(s, ".")
	if len(part) > 6 || !digits(whole) || strings.Contains(s, ".") && !digits(part) {
		return 0, fmt.Errorf("price: %q is not an amount such as 12.5 with at most six digits behind the point", s)
	}
	n, err := strconv.ParseInt(whole+part+strings.Repeat("0", 6-len(part)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("price: %q is too large an amount", s)
	}
	return Micros(n), nil
}

func digits(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return s != ""
}

// Units is how much was used. Numbers below 0 count as 0.
type Units struct {
	// Input is tokens of a prompt that were read, Cached those of it that a prefix
	// cache held, and Output tokens that were generated.
	Input, Cached, Output int64
	// Embedding is tokens that were embedded, and Rerank tokens that were scored.
	Embedding, Rerank int64
	// Reasoning is tokens of thoughts, AudioInput and AudioOutput those of sound: they are
	// none of Input, Cached and Output.
	Reasoning, AudioInput, AudioOutput int64
	// Documents is how many were ranked.
	Documents int64
	// Requests is how many requests it were.
	Requests int64
}

// Rates is the price of a million of each class, in Micros. 0 costs nothing.
type Rates struct {
	Input     int64 `json:"input,omitempty"`
	Output    int64 `json:"output,omitempty"`
	Embedding int64 `json:"embedding,omitempty"`
	Rerank    int64 `json:"rerank,omitempty"`
	Request   int64 `json:"request,omitempty"`
	// Cached is of tokens from the prefix cache; without it they cost what Input does.
	Cached *int64 `json:"cached,omitempty"`
	// Reasoning and AudioOutput are of tokens generated; without them they cost what
	// Output does. AudioInput is of a prompt's; without it they cost what Input does.
	Reasoning   *int64 `json:"reasoning,omitempty"`
	AudioInput  *int64 `json:"audio_input,omitempty"`
	AudioOutput *int64 `json:"audio_output,omitempty"`
	// Document is of documents that are ranked.
	Document int64 `json:"document,omitempty"`
}

// MaxRate bounds a rate: a million units of the currency for one token.
const MaxRate = 1_000_000_000_000_000_000

// or is a rate, or where there is none that of the class which it is a part of.
func or(rate *int64, otherwise int64) int64 {
	if rate != nil {
		return *rate
	}
	return otherwise
}

// MostInput is the highest rate that a token of a prompt may be billed by.
func (r Rates) MostInput() int64 {
	return max(r.Input, or(r.Cached, r.Input), or(r.AudioInput, r.Input))
}

// MostOutput is the highest rate that a token which is generated may be billed by.
func (r Rates) MostOutput() int64 {
	return max(r.Output, or(r.Reasoning, r.Output), or(r.AudioOutput, r.Output))
}

// Cost returns what u costs: the exact sum over all classes, rounded up to a whole
// Micros once. What is too large to be told is the largest number.
func (r Rates) Cost(u Units) Micros {
	var hi, lo uint64
	for _, c := range [...]struct{ rate, units int64 }{
		{r.Input, u.Input},
		{or(r.Cached, r.Input), u.Cached},
		{r.Output, u.Output},
		{r.Embedding, u.Embedding},
		{r.Rerank, u.Rerank},
		{r.Request, u.Requests},
		{or(r.Reasoning, r.Output), u.Reasoning},
		{or(r.AudioInput, r.Input), u.AudioInput},
		{or(r.AudioOutput, r.Output), u.AudioOutput},
		{r.Document, u.Documents},
	} {
		h, l := bits.Mul64(uint64(max(c.rate, 0)), uint64(max(c.units, 0)))
		var carry uint64
		lo, carry = bits.Add64(lo, l, 0)
		hi, carry = bits.Add64(hi, h, carry)
		if carry != 0 {
			return math.MaxInt64
		}
	}
	var carry uint64
	lo, carry = bits.Add64(lo, perPrice-1, 0)
	hi += carry
	if hi >= perPrice {
		return math.MaxInt64
	}
	n, _ := bits.Div64(hi, lo, perPrice)
	return Micros(min(n, math.MaxInt64))
}

// Dearest returns, of each class, the higher rate.
func (r Rates) Dearest(o Rates) Rates {
	cached := max(or(r.Cached, r.Input), or(o.Cached, o.Input))
	reasoning := max(or(r.Reasoning, r.Output), or(o.Reasoning, o.Output))
	audioIn := max(or(r.AudioInput, r.Input), or(o.AudioInput, o.Input))
	audioOut := max(or(r.AudioOutput, r.Output), or(o.AudioOutput, o.Output))
	return Rates{
		Input: max(r.Input, o.Input), Output: max(r.Output, o.Output), Embedding: max(r.Embedding, o.Embedding),
		Rerank: max(r.Rerank, o.Rerank), Request: max(r.Request, o.Request), Cached: &cached,
		Reasoning: &reasoning, AudioInput: &audioIn, AudioOutput: &audioOut, Document: max(r.Document, o.Document),
	}
}

// Add returns a + b; what is too large to be told is the largest number. Neither is
// negative.
func Add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
