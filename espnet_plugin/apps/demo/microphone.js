// The model learned from speech as it was recorded: what browsers do to it for calls is switched off.
const AS_IT_IS = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const devices = navigator.mediaDevices; // absent where the page is neither local nor over TLS
if (devices) {
  const listen = devices.getUserMedia.bind(devices);
  devices.getUserMedia = (wanted) => {
    if (!wanted?.audio) return listen(wanted);
    const audio = wanted.audio === true ? {} : wanted.audio;
    return listen({ ...wanted, audio: { ...audio, ...AS_IT_IS } });
  };
}
