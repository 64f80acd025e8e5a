package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

func batchClasses() map[string]Class {
	return map[string]Class{
		edgev1.FileService_UploadFile_FullMethodName:     Write,
		edgev1.FileService_ListFiles_FullMethodName:      Read,
		edgev1.FileService_GetFile_FullMethodName:        Read,
		edgev1.FileService_GetFileContent_FullMethodName: Write, // as long as a write may take
		edgev1.FileService_DeleteFile_FullMethodName:     Write,

		edgev1.BatchService_CreateBatch_FullMethodName: Write,
		edgev1.BatchService_ListBatches_FullMethodName: Read,
		edgev1.BatchService_GetBatch_FullMethodName:    Read,
		edgev1.BatchService_CancelBatch_FullMethodName: Write,
	}
}
