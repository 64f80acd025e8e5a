package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// batchMethods: whose a file or a batch is, the server knows; others' are not there.
// What a batch asks models is judged line by line, as any request of its maker.
func batchMethods() map[string]Method {
	return map[string]Method{
		edgev1.FileService_UploadFile_FullMethodName:     {Type: "file", Action: "create", Once: true},
		edgev1.FileService_ListFiles_FullMethodName:      {Type: "file", Action: "list"},
		edgev1.FileService_GetFile_FullMethodName:        {Type: "file", Action: "get"},
		edgev1.FileService_GetFileContent_FullMethodName: {Type: "file", Action: "get"},
		edgev1.FileService_DeleteFile_FullMethodName:     {Type: "file", Action: "delete"},

		edgev1.BatchService_CreateBatch_FullMethodName: {Type: "batch", Action: "create"},
		edgev1.BatchService_ListBatches_FullMethodName: {Type: "batch", Action: "list"},
		edgev1.BatchService_GetBatch_FullMethodName:    {Type: "batch", Action: "get"},
		edgev1.BatchService_CancelBatch_FullMethodName: {Type: "batch", Action: "cancel"},
	}
}
