package health

import (
	"strings"
	"testing"
)

func TestTheRoomOnADiskIsJudged(t *testing.T) {
	good := Room{Free: 50 << 30, Total: 100 << 30, Files: 1 << 20, CountsFiles: true, Writable: true}
	for _, tt := range []struct {
		name   string
		change func(*Room)
		want   Level
		why    string
	}{
		{"plenty", func(*Room) {}, LevelOK, ""},
		{"read-only", func(r *Room) { r.ReadOnlyDisk = true }, LevelFailed, "read-only"},
		{"not ours", func(r *Room) { r.Writable = false }, LevelFailed, "may not write"},
		{"full", func(r *Room) { r.Free = 1 << 20 }, LevelFailed, "1 MB left"},
		{"nearly full", func(r *Room) { r.Free = 1 << 30 }, LevelDegraded, "1024 MB left"},
		{"a small disk that is mostly free", func(r *Room) { r.Free, r.Total = 1<<30, 2<<30 }, LevelOK, ""},
		{"no more files", func(r *Room) { r.Files = 3 }, LevelFailed, "3 more files"},
		{"few files", func(r *Room) { r.Files = 3000 }, LevelDegraded, "3000 more files"},
		{"files are not counted", func(r *Room) { r.Files, r.CountsFiles = 0, false }, LevelOK, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := good
			tt.change(&r)
			got := r.State("/data")
			if got.Level != tt.want || !strings.Contains(got.Why, tt.why) || (got.Level != LevelOK) != (got.Cure != "") {
				t.Errorf("state is %v, want %v with %q", got, tt.want, tt.why)
			}
		})
	}
}

func TestTheRoomOfAFolderIsMeasured(t *testing.T) {
	r, err := RoomOf(t.TempDir())
	if err != nil || r.Total == 0 || r.Free > r.Total || !r.Writable || r.ReadOnlyDisk {
		t.Errorf("room is %+v, %v", r, err)
	}
	if _, err := RoomOf(t.TempDir() + "/missing"); err == nil {
		t.Error("a folder that is not there has room")
	}
}
