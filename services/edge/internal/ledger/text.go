package ledger

import (
	"strconv"
	"time"

	"github.com/poterne/poterne/services/edge/internal/jsonmember"
)

// appendText appends e as encoding/json would, which reads it back: each request is
// written three times, and reflection took most of that.
func (e *Entry) appendText(dst []byte) []byte { return e.appendUse(e.appendRequest(dst)) }

// appendRequest appends the beginning of the text, which is known when a request begins.
func (e *Entry) appendRequest(dst []byte) []byte {
	dst = append(dst, `{"id":`...)
	dst = jsonmember.Quote(dst, e.ID)
	dst = jsonmember.Text(dst, `,"r":`, e.RequestID)
	dst = append(dst, `,"at":"`...)
	dst = e.Time.AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, '"')
	dst = jsonmember.Text(dst, `,"t":`, e.Tenant)
	dst = jsonmember.Text(dst, `,"k":`, e.KeyID)
	dst = jsonmember.Text(dst, `,"s":`, e.Subject)
	return jsonmember.Text(dst, `,"o":`, e.Kind)
}

// appendUse appends the rest.
func (e *Entry) appendUse(dst []byte) []byte {
	dst = jsonmember.Text(dst, `,"m":`, e.Model)
	dst = jsonmember.Number(dst, `,"v":`, int64(e.Version))
	dst = jsonmember.Text(dst, `,"w":`, e.Variant)
	dst = jsonmember.Text(dst, `,"x":`, e.Experiment)
	dst = jsonmember.Text(dst, `,"a":`, e.Arm)
	dst = jsonmember.Number(dst, `,"i":`, e.Input)
	dst = jsonmember.Number(dst, `,"c":`, e.Cached)
	dst = jsonmember.Number(dst, `,"g":`, e.Output)
	dst = jsonmember.Number(dst, `,"gt":`, e.Reasoning)
	dst = jsonmember.Number(dst, `,"ia":`, e.AudioInput)
	dst = jsonmember.Number(dst, `,"ga":`, e.AudioOutput)
	dst = jsonmember.Text(dst, `,"e":`, e.Outcome)
	dst = jsonmember.True(dst, `,"~":true`, e.Estimated)
	dst = jsonmember.Text(dst, `,"d":`, e.Digest)
	dst = jsonmember.Text(dst, `,"wd":`, e.VariantDigest)
	dst = jsonmember.Number(dst, `,"$":`, e.Cost)
	dst = jsonmember.Number(dst, `,"p":`, e.Price)
	for i, c := range e.Charges {
		dst = append(dst, [2]string{`,`, `,"b":[`}[number(i == 0)]...)
		dst = append(dst, `{"b":`...)
		dst = strconv.AppendInt(dst, c.Budget, 10)
		dst = jsonmember.Number(dst, `,"p":`, c.Start)
		dst = jsonmember.Number(dst, `,"n":`, c.Amount)
		dst = jsonmember.True(dst, `,"$":true`, c.Money)
		dst = append(dst, '}')
	}
	if len(e.Charges) > 0 {
		dst = append(dst, ']')
	}
	dst = jsonmember.True(dst, `,"q":true`, e.Claimed)
	dst = jsonmember.True(dst, `,"h":true`, e.Hit)
	dst = jsonmember.Number(dst, `,"si":`, e.SavedInput)
	dst = jsonmember.Number(dst, `,"sg":`, e.SavedOutput)
	dst = jsonmember.Number(dst, `,"n":`, e.Documents)
	return append(dst, '}')
}
