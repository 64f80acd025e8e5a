package allinone

import (
	"google.golang.org/grpc/metadata"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// batchRequests name files and batches by their ids.
func batchRequests() map[string]request {
	const batch = `,"endpoint":"/v1/moderations","completion_window":"24h"`
	return map[string]request{
		"FileService/UploadFile":      {json: `{"filename":"mine","purpose":"batch","data":"e30="}`, nothing: "it names nothing but what is sent"},
		"FileService/ListFiles":       {nothing: listsOwn},
		"FileService/ListFiles+after": {json: `{"after":"{file}"}`, reads: true},
		"FileService/GetFile":         {json: `{"file_id":"{file}"}`, tells: true},
		"FileService/GetFileContent":  {json: `{"file_id":"{file}"}`, tells: true},
		"FileService/DeleteFile":      {json: `{"file_id":"{file}"}`},
		"BatchService/CreateBatch":    {json: `{"input_file_id":"{file}"` + batch + `}`},
		"BatchService/ListBatches":    {nothing: listsOwn},
		"BatchService/ListBatches+of": {json: `{"after":"{batch}"}`, reads: true},
		"BatchService/GetBatch":       {json: `{"batch_id":"{batch}"}`, tells: true},
		"BatchService/CancelBatch":    {json: `{"batch_id":"{batch}"}`},
	}
}

// batched makes a file and a batch of it.
func (a *acme) batched() (file, batch string) {
	t := a.g.t
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+a.owner)
	call, err := edgev1.NewFileServiceClient(a.g.conn).UploadFile(ctx)
	if err != nil {
		t.Fatal(err)
	}
	text := `{"custom_id":"` + marker + `","method":"POST","url":"/v1/moderations","body":{"input":"` + marker + `"}}`
	if err := call.Send(&edgev1.UploadFileRequest{Filename: marker + ".jsonl", Purpose: "batch", Data: []byte(text)}); err != nil {
		t.Fatal(err)
	}
	f, err := call.CloseAndRecv()
	if err != nil {
		t.Fatal(err)
	}
	b, err := edgev1.NewBatchServiceClient(a.g.conn).CreateBatch(ctx, &edgev1.CreateBatchRequest{
		InputFileId: f.GetId(), Endpoint: "/v1/moderations", CompletionWindow: "24h", Metadata: map[string]string{"note": marker},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f.GetId(), b.GetId()
}
