"""What the networks see of a second, in numbers, and what the part of a model is called that sees it."""

from utils.audio import CLIP_SAMPLES

# The networks' log-mel: 30 ms frames every 10 ms, 40 bins, as in BC-ResNet and its peers.
FRAME_LENGTH = 480  # samples
HOP_LENGTH = 160  # samples
N_FFT = 512
N_MELS = 40
FMIN_HZ, FMAX_HZ = 20.0, 7600.0
N_FRAMES = 1 + (CLIP_SAMPLES - FRAME_LENGTH) // HOP_LENGTH  # 98
ENERGY_FLOOR = 1e-6  # added before the logarithm: about the energy of int16 rounding
NETWORK = "network"  # name of the part of a model that comes after its front end
