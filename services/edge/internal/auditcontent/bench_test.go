package auditcontent

import (
	"strings"
	"testing"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
)

// What a call pays for its content: 4 KB asked and as much answered, but for the
// journal's write.
func BenchmarkContent(b *testing.B) {
	d := newDesk(b, NewSQLStore(openDB(b, sqliteDSN(b))), &kept{}, master("m1", "a"))
	d.enable(b, "acme")
	go func() { _ = d.Component().Run(b.Context()) }() // so that keys are followed
	text := strings.Repeat("word ", 800)
	body := &edgev1.CreateChatCompletionRequest{Model: "m", Messages: []*edgev1.ChatMessage{
		{Role: "user", Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: text}}},
	}}
	out := &edgev1.CreateChatCompletionResponse{Choices: []*edgev1.ChatChoice{{Message: body.GetMessages()[0]}}}
	for name, tenant := range map[string]string{"on": "acme", "off": "other"} {
		ctx := as(b.Context(), tenant, "ada")
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				entry := audit.NewEntry("r")
				ctx := audit.NewContext(ctx, entry)
				if err := d.Request(ctx, body, nil); err != nil {
					b.Fatal(err)
				}
				if c := entry.Content(); c != nil {
					c.Answer(out, false)
					rec := audit.Record{ID: "r", Tenant: tenant, Subject: "ada"}
					d.room = 1 << 20
					if c.Seal(ctx, &rec) == nil {
						b.Fatal("not kept")
					}
				}
			}
		})
	}
}
