# To be read by a shell (`. docs/ffmpeg-sidecar.sh`): settings of a sidecar in this directory, and its start in the background.
export VMAFX_SIDECAR_SOCKET="$PWD/sidecar.sock" VMAFX_SIDECAR_CHECKPOINT_DIR="$PWD/models" VMAFX_SIDECAR_N_FEATURES=6
VMAFX_BASE_MODEL_PATH=$(python -c 'from pipeline.data import BASE_MODEL; print(BASE_MODEL)')
# So often only to show something soon; the defaults are ten minutes and 1000 samples.
export VMAFX_BASE_MODEL_PATH VMAFX_SIDECAR_CKPT_INTERVAL_S=5 VMAFX_SIDECAR_MIN_SAMPLES_CKPT=500
mkdir -p "$VMAFX_SIDECAR_CHECKPOINT_DIR"
vmafx-sidecar run > sidecar.log 2>&1 &
