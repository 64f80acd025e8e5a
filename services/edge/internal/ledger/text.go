package ledger

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// appendText appends e as encoding/json would, which reads it back: each request is
// written three times, and reflection took most of that.
func (e *Entry) appendText(dst []byte) []byte {
	dst = append(dst, `{"id":`...)
	dst = quote(dst, e.ID)
	dst = textMember(dst, `,"r":`, e.RequestID)
	dst = append(dst, `,"at":"`...)
	dst = e.Time.AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, '"')
	dst = textMember(dst, `,"t":`, e.Tenant)
	dst = textMember(dst, `,"k":`, e.KeyID)
	dst = textMember(dst, `,"s":`, e.Subject)
	dst = textMember(dst, `,"o":`, e.Kind)
	dst = textMember(dst, `,"m":`, e.Model)
	dst = numberMember(dst, `,"v":`, int64(e.Version))
	dst = textMember(dst, `,"w":`, e.Variant)
	dst = textMember(dst, `,"x":`, e.Experiment)
	dst = textMember(dst, `,"a":`, e.Arm)
	dst = numberMember(dst, `,"i":`, e.Input)
	dst = numberMember(dst, `,"c":`, e.Cached)
	dst = numberMember(dst, `,"g":`, e.Output)
	dst = textMember(dst, `,"e":`, e.Outcome)
	dst = trueMember(dst, `,"~":true`, e.Estimated)
	dst = textMember(dst, `,"d":`, e.Digest)
	dst = textMember(dst, `,"wd":`, e.VariantDigest)
	dst = numberMember(dst, `,"$":`, e.Cost)
	dst = numberMember(dst, `,"p":`, e.Price)
	for i, c := range e.Charges {
		dst = append(dst, [2]string{`,`, `,"b":[`}[number(i == 0)]...)
		dst = append(dst, `{"b":`...)
		dst = strconv.AppendInt(dst, c.Budget, 10)
		dst = numberMember(dst, `,"p":`, c.Start)
		dst = numberMember(dst, `,"n":`, c.Amount)
		dst = trueMember(dst, `,"$":true`, c.Money)
		dst = append(dst, '}')
	}
	if len(e.Charges) > 0 {
		dst = append(dst, ']')
	}
	dst = trueMember(dst, `,"q":true`, e.Claimed)
	dst = trueMember(dst, `,"h":true`, e.Hit)
	dst = numberMember(dst, `,"si":`, e.SavedInput)
	dst = numberMember(dst, `,"sg":`, e.SavedOutput)
	return append(dst, '}')
}

func textMember(dst []byte, name, s string) []byte {
	if s == "" {
		return dst
	}
	return quote(append(dst, name...), s)
}

func numberMember(dst []byte, name string, n int64) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, name...), n, 10)
}

func trueMember(dst []byte, member string, is bool) []byte {
	if !is {
		return dst
	}
	return append(dst, member...)
}

// quote never fails: what is not UTF-8 is replaced, as encoding/json does.
func quote(dst []byte, s string) []byte {
	out, err := jsontext.AppendQuote(dst, s)
	_ = err
	return out
}
